import { Agent, request as send } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'

export interface LoadOptions {
  readonly callers: number
  readonly form: 'json' | 'binary'
  readonly rows: number
  readonly seconds: number
}

export interface Outcome {
  /** Requests per response status, or per error code if there was no response. */
  readonly statuses: ReadonlyMap<string, number>
}

/** Each caller sends the next request when its last response has arrived. */
export async function load(
  url: string,
  { callers, form, rows, seconds }: LoadOptions,
): Promise<Outcome> {
  const statuses = new Map<string, number>()
  const agent = new Agent({ keepAlive: true, maxSockets: callers })
  const body = requestBody(rows, form)
  const until = performance.now() + seconds * 1000
  const ask = async () => {
    while (performance.now() < until) {
      const status = await exchange(`${url}/v2/models/picture/infer`, body, agent)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      if (status !== '200') await wait(50)
    }
  }
  await Promise.all(Array.from({ length: callers }, ask))
  agent.destroy()
  return { statuses }
}

function requestBody(rows: number, form: LoadOptions['form']): string {
  const data = Array.from({ length: rows * 4 }, (_, i) => i % 10)
  const input = { name: 'x', shape: [rows, 4], datatype: 'FP32', data }
  const parameters = form === 'binary' ? { parameters: { binary_data_output: true } } : {}
  return JSON.stringify({ inputs: [input], ...parameters })
}

function exchange(url: string, body: string, agent: Agent): Promise<string> {
  return new Promise(resolve => {
    const request = send(url, { method: 'POST', agent, timeout: 60_000 }, response => {
      response.resume()
      response.on('end', () => resolve(String(response.statusCode)))
      response.on('error', error => resolve(codeOf(error)))
    })
    request.on('timeout', () => request.destroy(new Error('no response within a minute')))
    request.on('error', error => resolve(codeOf(error)))
    request.setHeader('content-type', 'application/json')
    request.end(body)
  })
}

const codeOf = (error: Error) => (error as NodeJS.ErrnoException).code ?? error.message
