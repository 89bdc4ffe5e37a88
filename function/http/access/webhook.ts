import type { Answer } from '../../answer.ts'
import type { RequestHead } from '../head.ts'

/**
 * Answers senders that ask whether they may deliver events here, as Azure Event Grid does (HTTP 1.1
 * Web Hooks for Event Delivery 1.0, section 4). Undefined for another request, or where the sender
 * is not allowed.
 */
export type Handshake = (request: RequestHead) => Answer | undefined

/**
 * The answer names no rate: what is too much is refused, and the sender delivers it again.
 * WebHook-Request-Callback is not asked: whoever names an address could make this server send to it.
 *
 * @param origins DNS names of senders, as they write them in WebHook-Request-Origin
 */
export function createHandshake(origins: readonly string[] | '*'): Handshake {
  return ({ method, headers }) => {
    const origin = headers['webhook-request-origin']
    if (method !== 'OPTIONS' || typeof origin !== 'string') return undefined
    if (origins !== '*' && !origins.includes(origin.toLowerCase())) return undefined
    return {
      status: 200,
      headers: {
        allow: 'POST, OPTIONS',
        'webhook-allowed-origin': origin,
        'webhook-allowed-rate': '*',
      },
      body: '',
    }
  }
}
