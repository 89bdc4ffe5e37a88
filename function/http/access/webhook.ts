import type { Answer } from '../../answer.ts'
import type { RequestHead } from '../head.ts'

/**
 * Answers senders that ask whether they may deliver events here, as Azure Event Grid does (HTTP 1.1
 * Web Hooks for Event Delivery 1.0, section 4). Undefined for any other request, or if the sender
 * is not allowed.
 */
export type Handshake = (request: RequestHead) => Answer | undefined

/**
 * The answer names no rate: under overload the server refuses events, and the sender delivers them
 * again. WebHook-Request-Callback is ignored: an attacker could use it to make this server call any
 * address.
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
