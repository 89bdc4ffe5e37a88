import {
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose'
import type { JwtConfig } from '../config/access.ts'
import type { Log } from '../telemetry/log.ts'
import { type Refusal, refusedToken } from './authentication.ts'
import { followFiles } from './followed-files.ts'

/**
 * Whether a token is from the issuer, for us and for this: undefined, where it is.
 * Else 401 where it is not genuine, 403 where it does not allow this, 503 where the issuer's keys cannot be had.
 */
export type Verify = (token: string, isEvent: boolean) => Promise<Refusal | undefined>

/** @throws {Error} of one line, when the file of keys is none */
export function createVerify(
  { jwks, issuer, audience, eventsAudience, algorithms, subjects, clockSkewSeconds }: JwtConfig,
  log: Log,
): Verify {
  const keyOf = jwks instanceof URL ? createRemoteJWKSet(jwks) : keysOfFile(jwks, log)
  const options = {
    issuer,
    audience: [audience, eventsAudience],
    algorithms: [...algorithms],
    clockTolerance: clockSkewSeconds,
    requiredClaims: ['exp'],
  }
  let failing = false

  function refusalOf(error: unknown): Refusal {
    const mistake = mistakeOf(error, algorithms)
    if (mistake !== undefined) return refusedToken(401, mistake)
    // Once, and not for each request until it is over.
    if (!failing)
      log.error(
        { err: error },
        'the keys of AUTH_JWKS cannot be had; nobody can be let in by a token',
      )
    failing = true
    return {
      status: 503,
      message: 'who asks cannot be found out now; try again later',
      headers: { 'retry-after': '5' },
    }
  }

  return async (token, isEvent) => {
    let claims: JWTPayload
    try {
      claims = (await jwtVerify(token, keyOf, options)).payload
    } catch (error) {
      return refusalOf(error)
    }
    failing = false
    const wanted = isEvent ? eventsAudience : audience
    if (![claims.aud].flat().includes(wanted)) {
      return refusedToken(
        403,
        `the token is not for ${isEvent ? 'events' : 'requests that are no events'}`,
      )
    }
    if (subjects !== undefined && !subjects.includes(claims.sub ?? ''))
      return refusedToken(403, 'the token is of nobody who may ask here')
    return undefined
  }
}

/** What is wrong with the token; undefined, where it is not the token that is wrong. */
function mistakeOf(error: unknown, algorithms: readonly string[]): string | undefined {
  if (error instanceof errors.JWTExpired) return 'the token has expired'
  if (error instanceof errors.JWTClaimValidationFailed)
    return CLAIMS[error.claim] ?? `the token's ${error.claim} is not as it must be`
  if (error instanceof errors.JOSEAlgNotAllowed)
    return `the token is not signed with ${algorithms.join(' or ')}`
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return 'the token is not signed by its issuer'
  if (error instanceof errors.JWKSNoMatchingKey)
    return 'the token is signed with a key that its issuer does not list'
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return 'the token does not say with which of its issuer\u2019s keys it is signed (kid)'
  if (error instanceof errors.JWTInvalid || error instanceof errors.JWSInvalid)
    return 'this is no token (JWT)'
  // A header that must be understood, and is not; a key that no such algorithm takes.
  if (error instanceof errors.JOSENotSupported)
    return 'the token asks for what is not supported here'
  return undefined
}

const CLAIMS: Readonly<Record<string, string>> = {
  aud: 'the token is for somebody else (aud)',
  iss: 'the token is from another issuer (iss)',
  nbf: 'the token is not valid yet (nbf)',
  exp: 'the token says not when it expires (exp)',
}

function keysOfFile(path: string, log: Log): JWTVerifyGetKey {
  let keyOf: JWTVerifyGetKey | undefined
  const use = ({ AUTH_JWKS: text }: { AUTH_JWKS: string }) => {
    try {
      keyOf = createLocalJWKSet(JSON.parse(text) as JSONWebKeySet)
    } catch (error) {
      throw new Error(`this is no JSON Web Key Set: ${(error as Error).message}`)
    }
  }
  followFiles({ AUTH_JWKS: path }, use, log)
  return (header, token) => (keyOf as JWTVerifyGetKey)(header, token)
}
