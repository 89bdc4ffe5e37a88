import type { RefusalCode } from '../../errors.ts'

/**
 * Why a request is refused. A plain object, not an error class: sharing a class with the start-up
 * code would make the start load more files.
 */
export interface Refusal {
  readonly code: Extract<
    RefusalCode,
    'BAD_HTTP' | 'UNAUTHENTICATED' | 'FORBIDDEN' | 'KEYS_UNAVAILABLE'
  >
  readonly message: string
  readonly headers: Readonly<Record<string, string>>
}

export const CHALLENGE = 'Bearer realm="onnx-function"'

/**
 * Refuses a token (RFC 6750 section 3.1).
 * @param code UNAUTHENTICATED if another token would do; FORBIDDEN if this one is genuine but does
 *   not allow the request
 * @param message ASCII without double quotes (RFC 6750 allows no others in a header)
 */
export function refuseToken(code: 'UNAUTHENTICATED' | 'FORBIDDEN', message: string): Refusal {
  const error = code === 'UNAUTHENTICATED' ? 'invalid_token' : 'insufficient_scope'
  return {
    code,
    message,
    headers: {
      'www-authenticate': `${CHALLENGE}, error="${error}", error_description="${message}"`,
    },
  }
}
