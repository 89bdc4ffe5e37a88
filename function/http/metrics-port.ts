import type { Config } from '../config/config.ts'
import type { EventService } from '../events/receive.ts'
import { type Host, listen, pathOf } from './host.ts'
import { createRoutes } from './routes.ts'

/**
 * The same listener on METRICS_PORT, for metrics and health alone. It asks nobody who they are: who reaches it is the network's to say.
 * @throws {Error} of one line, when the port cannot be had
 */
export function listenForMetrics(
  service: EventService,
  config: Config,
  port: number,
): Promise<Host> {
  const routeOf = createRoutes(service)
  const open = {
    ...config,
    port,
    listenFd: undefined,
    idleExitMs: 0,
    metricsPort: undefined,
    auth: undefined,
    tls: undefined,
    corsOrigins: undefined,
  }
  return listen(service, open, (request, _response, respond) => {
    respond(() => {
      const route = routeOf(pathOf(request.url ?? ''))
      return route?.kind === 'health' || route?.kind === 'metrics' ? route : undefined
    })
  })
}
