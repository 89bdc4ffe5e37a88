import { createHash, timingSafeEqual } from 'node:crypto'
import type { AuthConfig, JwtConfig } from '../../config/access.ts'
import type { Log } from '../../telemetry/log.ts'
import type { RequestHead } from '../head.ts'
import { type Route, routeOrNone } from '../routes.ts'
import type { Verify } from './jwt.ts'
import { CHALLENGE, type Refusal, refuseToken } from './refusal.ts'
import { watchFiles } from './watched-files.ts'

/**
 * Authenticates a request. Health routes need no authentication.
 * @param findRoute finds the route, or throws; only authenticated callers see that error
 * @returns undefined if the caller is authenticated and allowed
 */
export type Authenticate = (
  request: RequestHead,
  findRoute: () => Route | undefined,
) => Promise<Refusal | undefined>

/** @throws {Error} if a secret or a file cannot be used */
export async function createAuthentication(config: AuthConfig, log: Log): Promise<Authenticate> {
  const secrets = new Secrets(config, log)
  const verify = config.jwt && (await createVerify(config.jwt, log))

  return async (request, findRoute) => {
    const route = routeOrNone(findRoute)
    if (route?.kind === 'health') return undefined
    const token = bearerOf(request)
    if (typeof token !== 'string') return token
    if (secrets.isKnown(token)) return undefined
    const isEvent = request.method === 'POST' && route?.isEvent?.(request.headers) === true
    const refusal =
      verify === undefined
        ? refuseToken('UNAUTHENTICATED', 'the bearer token is not a known secret')
        : await verify(token, isEvent)
    return refusal !== undefined && secrets.lost ? SECRETS_UNAVAILABLE : refusal
  }
}

const createVerify = async (jwt: JwtConfig, log: Log): Promise<Verify> =>
  (await import('./jwt.ts')).createVerify(jwt, log)

/**
 * Returns the bearer token. Refuses several Authorization headers: a proxy may have checked a
 * different one.
 */
function bearerOf({ rawHeaders }: RequestHead): string | Refusal {
  const credentials = rawHeaders.filter(
    (_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'authorization',
  )
  if (credentials.length > 1)
    return {
      code: 'BAD_HTTP',
      message: 'the request has more than one Authorization header; send one',
      headers: {},
    }
  const token = /^Bearer +([A-Za-z0-9\-._~+/]+=*)$/i.exec(credentials[0] ?? '')?.[1]
  if (token !== undefined) return token
  const message = 'a bearer token is needed: send the header Authorization: Bearer TOKEN'
  return { code: 'UNAUTHENTICATED', message, headers: { 'www-authenticate': CHALLENGE } }
}

const SECRETS_UNAVAILABLE: Refusal = {
  code: 'KEYS_UNAVAILABLE',
  message: 'the secret cannot be checked now; try again later',
  headers: { 'retry-after': '5' },
}

class Secrets {
  /** True if the secrets file is empty or missing: the valid secrets are then unknown. */
  lost = false
  readonly #own: readonly Buffer[]
  #known: readonly Buffer[]

  constructor({ secret, secretFile }: AuthConfig, log: Log) {
    if (secret !== undefined) checkSecret(secret, 'AUTH_SECRET')
    this.#own = secret === undefined ? [] : [digest(secret)]
    this.#known = this.#own
    if (secretFile === undefined) return
    const use = ({ AUTH_SECRET_FILE: text }: { AUTH_SECRET_FILE: string }) => {
      this.#known = [...this.#own, ...readSecrets(text).map(digest)]
      this.lost = false
    }
    const lose = () => {
      this.#known = this.#own
      this.lost = true
    }
    watchFiles({ AUTH_SECRET_FILE: secretFile }, use, log, lose)
  }

  /** Compares in constant time, so that the timing reveals nothing about the secrets. */
  isKnown(token: string): boolean {
    const asked = digest(token)
    // Compare with every secret, even after a match.
    return this.#known.map(digest => timingSafeEqual(digest, asked)).includes(true)
  }
}

/** timingSafeEqual requires a fixed length. */
const digest = (text: string) => createHash('sha256').update(text).digest()

function readSecrets(text: string): string[] {
  const secrets = text.split(/\r?\n/).filter(line => line !== '')
  for (const [i, secret] of secrets.entries()) checkSecret(secret, `secret ${i + 1}`)
  return secrets
}

/**
 * Checks that a secret can be sent as a bearer token (RFC 6750 section 2.1) and is hard to guess.
 * Errors are logged, so this error hides the secret.
 */
function checkSecret(secret: string, what: string): void {
  if (/^(?=.{16})[A-Za-z0-9\-._~+/]{14,}=*$/.test(secret)) return
  throw new Error(
    `${what} is not valid (its value is hidden); it must be at least 16 of the characters A\u2013Z a\u2013z 0\u20139 - . _ ~ + / and, at the end, =`,
  )
}
