import {
  createLocalJWKSet,
  createRemoteJWKSet,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose'
import type { JwtConfig } from '../../config/access.ts'
import type { Log } from '../../telemetry/log.ts'
import { type Refusal, refuseToken } from './refusal.ts'
import { watchFiles } from './watched-files.ts'

/**
 * Verifies that a token comes from the issuer and is for this service and kind of request.
 * @returns undefined if the token is accepted; otherwise a refusal: 401 if the token is not
 * genuine, 403 if it does not allow the request, 503 if the issuer's keys are not available
 */
export type Verify = (token: string, isEvent: boolean) => Promise<Refusal | undefined>

/** The minimum time between two fetches of the issuer's keys, even after a failure. */
const COOLDOWN_MS = 30_000

/** @throws {Error} if the file is not a JSON Web Key Set */
export function createVerify(
  { jwks, issuer, audience, eventsAudience, algorithms, subjects, clockSkewSeconds }: JwtConfig,
  log: Log,
): Verify {
  let failing = false
  const onRead = () => {
    if (failing) log.info('the AUTH_JWKS keys are available again')
    failing = false
  }
  const keyOf = jwks instanceof URL ? keysOfIssuer(jwks, onRead) : keysOfFile(jwks, onRead, log)
  const options = {
    issuer,
    audience: [audience, eventsAudience],
    algorithms: [...algorithms],
    clockTolerance: clockSkewSeconds,
    requiredClaims: ['exp'],
  }

  function refusalOf(error: unknown): Refusal {
    const mistake = mistakeOf(error, algorithms)
    if (mistake !== undefined) return refuseToken('UNAUTHENTICATED', mistake)
    // Log an outage once, not for each request. A token verified with cached keys does not end the
    // outage.
    if (!failing)
      log.error(
        { err: error },
        'the AUTH_JWKS keys are unavailable; requests whose tokens need them get 503',
      )
    failing = true
    return {
      code: 'KEYS_UNAVAILABLE',
      message: 'tokens cannot be verified now; try again later',
      headers: { 'retry-after': String(COOLDOWN_MS / 1_000) },
    }
  }

  return async (token, isEvent) => {
    let claims: JWTPayload
    try {
      claims = (await jwtVerify(token, keyOf, options)).payload
    } catch (error) {
      return refusalOf(error)
    }
    const wanted = isEvent ? eventsAudience : audience
    if (![claims.aud].flat().includes(wanted)) {
      return refuseToken(
        'FORBIDDEN',
        `the token's audience does not allow ${isEvent ? 'events' : 'requests other than events'}`,
      )
    }
    if (subjects !== undefined && !subjects.includes(claims.sub ?? ''))
      return refuseToken('FORBIDDEN', "the token's subject is not allowed (AUTH_SUBJECTS)")
    return undefined
  }
}

/** The token's faults, keyed by jose's error code. */
const MISTAKES: Readonly<Record<string, string>> = {
  ERR_JWT_EXPIRED: 'the token has expired',
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: "the token's signature does not match its issuer's key",
  ERR_JWKS_NO_MATCHING_KEY: "the token's key (kid) is not among its issuer's keys",
  ERR_JWKS_MULTIPLE_MATCHING_KEYS: 'the token names no key (kid), and its issuer has several keys',
  ERR_JWT_INVALID: 'the token is not a JWT',
  ERR_JWS_INVALID: 'the token is not a JWT',
  // The token has an unknown critical header, or its key does not match its algorithm.
  ERR_JOSE_NOT_SUPPORTED: 'the token uses a feature that is not supported here',
}

/** Undefined if the token is not at fault. */
function mistakeOf(error: unknown, algorithms: readonly string[]): string | undefined {
  const { code, claim } = error as { readonly code?: string; readonly claim?: string }
  if (code === 'ERR_JWT_CLAIM_VALIDATION_FAILED')
    return CLAIMS[claim ?? ''] ?? `the token's ${claim} is not valid`
  if (code === 'ERR_JOSE_ALG_NOT_ALLOWED')
    return `the token is not signed with ${algorithms.join(' or ')}`
  return MISTAKES[code ?? '']
}

const CLAIMS: Readonly<Record<string, string>> = {
  aud: 'the token is for another audience (aud)',
  iss: 'the token is from another issuer (iss)',
  nbf: 'the token is not valid yet (nbf)',
  exp: 'the token has no valid expiry (exp)',
}

/**
 * Finds keys in the key set at a URL. Fetches the set again for an unknown key, and if the set is
 * ten minutes old. Limits the fetches, because jose's own cooldown begins only after a successful
 * fetch.
 * @param onRead called after each successful fetch
 */
function keysOfIssuer(url: URL, onRead: () => void): JWTVerifyGetKey {
  const keys = createRemoteJWKSet(url, { cooldownDuration: Number.POSITIVE_INFINITY })
  let fetched = Promise.resolve()
  let next = 0
  /** Fetches the keys. During the cooldown, returns the previous result. */
  const refresh = () => {
    if (Date.now() >= next) {
      next = Date.now() + COOLDOWN_MS
      fetched = keys.reload().then(onRead)
    }
    return fetched
  }
  return async (header, token) => {
    if (!keys.fresh) await refresh()
    try {
      return await keys(header, token)
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_JWKS_NO_MATCHING_KEY') throw error
      await refresh()
      return keys(header, token)
    }
  }
}

/** @param onRead called after each read of the file */
function keysOfFile(path: string, onRead: () => void, log: Log): JWTVerifyGetKey {
  let keyOf: JWTVerifyGetKey | undefined
  const use = ({ AUTH_JWKS: text }: { AUTH_JWKS: string }) => {
    try {
      keyOf = createLocalJWKSet(JSON.parse(text) as JSONWebKeySet)
    } catch (error) {
      throw new Error(`not a JSON Web Key Set: ${(error as Error).message}`)
    }
    onRead()
  }
  const lose = () => {
    keyOf = () => {
      throw new Error(`AUTH_JWKS ${path} is empty or missing`)
    }
  }
  watchFiles({ AUTH_JWKS: path }, use, log, lose)
  return (header, token) => (keyOf as JWTVerifyGetKey)(header, token)
}
