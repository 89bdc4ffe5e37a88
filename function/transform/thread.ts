import type { Log } from '../telemetry/log.ts'
import { authorsLog, logThrown, oneLine } from './context.ts'
import type { ServedModel } from './contract.ts'
import { type LoadedTransform, loadTransform } from './load.ts'

export interface ThreadTransform extends LoadedTransform {
  readonly model: ServedModel
  /** @throws any error of the transform's close() */
  close(): Promise<void>
}

/** Loads a transform into this thread, and calls setup(). @throws {Error} */
export async function openTransform(
  file: string,
  model: ServedModel,
  log: Log,
): Promise<ThreadTransform> {
  logStray(log)
  const loaded = await loadTransform(file)
  const { author } = loaded
  try {
    await author.setup?.({ model, log: authorsLog(log, () => ({})) })
  } catch (error) {
    const text = `setup() of the transform ${file} failed: ${oneLine(error)}`
    logThrown(log, 'error', { thrown: error, fields: {}, text })
    throw new Error(text)
  }
  return {
    ...loaded,
    model,
    close: async () => {
      await author.close?.()
    },
  }
}

let isLogging = false

/**
 * Logs errors outside calls, such as an unhandled rejection or an error in a timer's callback. They
 * end neither the thread nor the process.
 */
function logStray(log: Log): void {
  if (isLogging) return
  isLogging = true
  const tell = (what: string) => (thrown: unknown) =>
    logThrown(log, 'error', { thrown, fields: {}, text: `${what}: ${oneLine(thrown)}` })
  process.on('unhandledRejection', tell('unhandled promise rejection in the transform'))
  process.on('uncaughtException', tell('uncaught error in the transform outside a call'))
}
