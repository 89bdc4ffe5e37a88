import type { IncomingMessage } from 'node:http'
import { type AuthConfig, isSecret } from '../config.ts'
import { modeOf } from '../events/cloudevent.ts'
import { Refused } from '../handler.ts'
import type { Log } from '../telemetry/log.ts'
import { HungUp } from './body.ts'
import { followFiles } from './followed-files.ts'
import type { Verify } from './jwt.ts'
import type { Route } from './routes.ts'

const { createHash, timingSafeEqual } = process.getBuiltinModule('node:crypto')

/**
 * The route of a request, for who may have it; health is for everybody.
 * @param find finds the route, or throws why there is none, which is told only to who may ask
 * @throws {Refused} 401 to who does not say, or prove, who they are; 403 to who may not; 503 while that cannot be found out
 */
export type Admit = (request: IncomingMessage, find: () => Route | undefined) => Promise<Route | undefined>

/** @throws {Error} of one line, when a file is not what it must be */
export async function createAdmission(config: AuthConfig, log: Log): Promise<Admit> {
  const isKnownSecret = createSecrets(config, log)
  const verify = config.jwt && (await createVerify(config.jwt, log))

  return async (request, find) => {
    const route = routeOrNone(find)
    if (route?.kind === 'health') return route
    const token = bearerOf(request)
    if (!isKnownSecret(token)) {
      if (verify === undefined) throw refusedToken(401, 'the bearer token is not one that is known here')
      await verify(token, isEvent(request, route))
      // Nobody would tell whoever waits for the body.
      if (request.destroyed) throw new HungUp()
    }
    return find()
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
export const refusedToken = (status: 401 | 403, message: string): Refused =>
  new Refused(status, message, {
    'www-authenticate': `${CHALLENGE}, error="${status === 401 ? 'invalid_token' : 'insufficient_scope'}", error_description="${message}"`,
  })

function routeOrNone(find: () => Route | undefined): Route | undefined {
  try {
    return find()
  } catch {
    return undefined
  }
}

const isEvent = ({ method, headers }: IncomingMessage, route: Route | undefined) =>
  route?.kind === 'events' && method === 'POST' && modeOf(headers) !== undefined

/** @throws {Refused} where there is none, or two, of which a proxy may have looked at the other */
function bearerOf({ rawHeaders }: IncomingMessage): string {
  const credentials = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'authorization')
  if (credentials.length > 1) throw new Refused(400, 'there is more than one Authorization header')
  const token = /^Bearer +([A-Za-z0-9\-._~+/]+=*)$/i.exec(credentials[0] ?? '')?.[1]
  if (token !== undefined) return token
  throw new Refused(401, 'a bearer token is needed: send the header Authorization: Bearer TOKEN', { 'www-authenticate': CHALLENGE })
}

/** Whether a token is one of the secrets; how long that takes tells nothing of them. */
function createSecrets({ secret, secretFile }: AuthConfig, log: Log): (token: string) => boolean {
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
  const wrong = secrets.findIndex(line => !isSecret(line))
  if (wrong !== -1) throw new Error(`secret ${wrong + 1} must be at least 16 of the characters A\u2013Z a\u2013z 0\u20139 - . _ ~ + / =`)
  if (secrets.length === 0) throw new Error('it is empty')
  return secrets
}
