import type { Answer } from '../../answer.ts'
import type { RequestHead } from '../head.ts'

/**
 * Answers a sender, such as Azure Event Grid, that asks for permission to deliver events (HTTP 1.1
 * Web Hooks for Event Delivery 1.0, section 4). Returns undefined for other requests, and for
 * senders that are not allowed.
 */
export type Handshake = (request: RequestHead, path: string) => Answer | undefined

/**
 * Allows any rate: under overload, the server refuses events and the sender delivers them again.
 * Ignores WebHook-Request-Callback, with which an attacker could make this server call any address.
 * @param origins DNS names of allowed senders, as in the WebHook-Request-Origin header
 * @param acceptsEvents must not depend on the model that a path names: the sender needs no token,
 * and the response would reveal whether the model is served
 */
export function createHandshake(
  origins: readonly string[] | '*',
  acceptsEvents: (path: string) => boolean,
): Handshake {
  return ({ method, headers }, path) => {
    const origin = headers['webhook-request-origin']
    if (method !== 'OPTIONS' || typeof origin !== 'string') return undefined
    if (origins !== '*' && !origins.includes(origin.toLowerCase())) return undefined
    if (!acceptsEvents(path)) return undefined
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
