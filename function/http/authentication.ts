import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { AuthConfig } from '../config/access.ts'
import type { Log } from '../telemetry/log.ts'
import { followFiles } from './followed-files.ts'
import type { Verify } from './jwt.ts'
import type { Route } from './routes.ts'

/** Why a request is not let in. A value, because this room shares no code with the start, which would then read more files. */
export interface Refusal {
  readonly status: 400 | 401 | 403 | 503
  readonly message: string
  readonly headers: Readonly<Record<string, string>>
}

/**
 * Whether a request is let in; for health everybody is.
 * @param find finds the request's route, or throws why there is none, which is told only to who is let in
 * @returns undefined where it is
 */
export type Admit = (
  request: IncomingMessage,
  find: () => Route | undefined,
) => Promise<Refusal | undefined>

/** @throws {Error} of one line, when a secret or a file is not what it must be */
export async function createAdmission(config: AuthConfig, log: Log): Promise<Admit> {
  const isKnownSecret = createSecrets(config, log)
  const verify = config.jwt && (await createVerify(config.jwt, log))

  return async (request, find) => {
    const route = routeOrNone(find)
    if (route?.kind === 'health') return undefined
    const token = bearerOf(request)
    if (typeof token !== 'string') return token
    if (isKnownSecret(token)) return undefined
    if (verify === undefined)
      return refusedToken(401, 'the bearer token is not one that is known here')
    return verify(token, request.method === 'POST' && route?.isEvent?.(request.headers) === true)
  }
}

/** jose is loaded only by who uses it. */
const createVerify = async (jwt: NonNullable<AuthConfig['jwt']>, log: Log): Promise<Verify> =>
  (await import('./jwt.ts')).createVerify(jwt, log)

const CHALLENGE = 'Bearer realm="onnx-function"'

/**
 * A token that is not taken (RFC 6750 section 3.1).
 * @param status 401 where another token would do, 403 where this one is genuine and does not allow what is asked
 * @param message without quotes
 */
export function refusedToken(status: 401 | 403, message: string): Refusal {
  const error = status === 401 ? 'invalid_token' : 'insufficient_scope'
  return {
    status,
    message,
    headers: {
      'www-authenticate': `${CHALLENGE}, error="${error}", error_description="${message}"`,
    },
  }
}

function routeOrNone(find: () => Route | undefined): Route | undefined {
  try {
    return find()
  } catch {
    return undefined
  }
}

/** The token, or what is wrong where there is none, or two, of which a proxy may have looked at the other. */
function bearerOf({ rawHeaders }: IncomingMessage): string | Refusal {
  const credentials = rawHeaders.filter(
    (_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'authorization',
  )
  if (credentials.length > 1)
    return { status: 400, message: 'there is more than one Authorization header', headers: {} }
  const token = /^Bearer +([A-Za-z0-9\-._~+/]+=*)$/i.exec(credentials[0] ?? '')?.[1]
  if (token !== undefined) return token
  const message = 'a bearer token is needed: send the header Authorization: Bearer TOKEN'
  return { status: 401, message, headers: { 'www-authenticate': CHALLENGE } }
}

/** Whether a token is one of the secrets; how long that takes tells nothing of them. */
function createSecrets({ secret, secretFile }: AuthConfig, log: Log): (token: string) => boolean {
  if (secret !== undefined) checkSecret(secret, 'AUTH_SECRET')
  const own = secret === undefined ? [] : [digest(secret)]
  let known = own
  if (secretFile !== undefined) {
    const use = ({ AUTH_SECRET_FILE: text }: { AUTH_SECRET_FILE: string }) => {
      known = [...own, ...readSecrets(text).map(digest)]
    }
    followFiles({ AUTH_SECRET_FILE: secretFile }, use, log)
  }
  return token => {
    const asked = digest(token)
    // Each of them is compared, whichever it is.
    return known.map(digest => timingSafeEqual(digest, asked)).includes(true)
  }
}

/** Of one length, as a comparison in constant time needs it. */
const digest = (text: string) => createHash('sha256').update(text).digest()

function readSecrets(text: string): string[] {
  const secrets = text.split(/\r?\n/).filter(line => line !== '')
  if (secrets.length === 0) throw new Error('it is empty')
  for (const [i, secret] of secrets.entries()) checkSecret(secret, `secret ${i + 1}`)
  return secrets
}

/** That it can be sent as a bearer token (RFC 6750 section 2.1), and not be guessed; what is nearly a secret is not written to a log. */
function checkSecret(secret: string, what: string): void {
  if (/^[A-Za-z0-9\-._~+/]{16,}=*$/.test(secret)) return
  throw new Error(
    `${what} is not shown here; it must be at least 16 of the characters A\u2013Z a\u2013z 0\u20139 - . _ ~ + / =`,
  )
}
