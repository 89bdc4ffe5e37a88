import type { Config } from '../config/config.ts'
import type { Service } from '../service.ts'
import { type Listener, listen } from './listener.ts'
import { ROUTES, type TableRoute } from './routes.ts'

const ROWS = ROUTES.filter(({ kind }: TableRoute) => kind === 'health' || kind === 'metrics')

/** Separate from the limit on PORT, so that monitoring works while the server is under attack. */
const MOST_CONNECTIONS = 64

/**
 * Listens on METRICS_PORT, for metrics and health only. There is no authentication: restrict access
 * at the network.
 * @throws {Error} if it cannot listen on the port
 */
export const listenForMetrics = (
  service: Service,
  config: Config,
  port: number,
): Promise<Listener> =>
  listen(
    service,
    {
      ...config,
      port,
      listenFd: undefined,
      maxConnections: MOST_CONNECTIONS,
      idleExitMs: 0,
      auth: undefined,
      tls: undefined,
      corsOrigins: undefined,
      webhookOrigins: undefined,
    },
    { rows: ROWS, grpc: false },
  )
