import type { Answer } from '../../answer.ts'
import type { RequestHead } from '../head.ts'

/**
 * Answers a sender's request for permission to deliver events here. Azure Event Grid sends such a
 * request (HTTP 1.1 Web Hooks for Event Delivery 1.0, section 4). Returns undefined for any other
 * request, or if the sender is not allowed.
 */
export type Handshake = (request: RequestHead) => Answer | undefined

/**
 * Creates a handshake that allows any rate: under overload, the server refuses events and the
 * sender delivers them again. WebHook-Request-Callback is ignored, because an attacker could use it
 * to make this server call any address.
 *
 * @param origins DNS names of the allowed senders, as in the WebHook-Request-Origin header
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
