import { readRows, type Source, type Values } from './variable.ts'
import { AUTH, TLS } from './variables.ts'

type AuthValues = Values<typeof AUTH>

export interface AuthConfig {
  readonly secret: string | undefined
  /** A file with one secret per line. */
  readonly secretFile: string | undefined
  readonly jwt: JwtConfig | undefined
}

export interface JwtConfig {
  readonly issuer: string
  readonly audience: string
  readonly eventsAudience: string
  readonly jwks: URL | string
  readonly algorithms: readonly string[]
  /** Undefined allows every subject. */
  readonly subjects: readonly string[] | undefined
  readonly clockSkewSeconds: number
}

export interface TlsConfig {
  readonly certFile: string
  readonly keyFile: string
}

export function readAuth(source: Source): AuthConfig | undefined {
  refuseEmpty(AUTH, source)
  const values = readRows(AUTH, source)
  const { secret, secretFile } = values
  const jwt = readJwt(values)
  if (secret === undefined && secretFile === undefined && jwt === undefined) return undefined
  return { secret, secretFile, jwt }
}

function readJwt(values: AuthValues): JwtConfig | undefined {
  const { jwks, issuer, audience, eventsAudience, subjects, algorithms, clockSkewSeconds } = values
  // With only one of these variables, the server would admit everyone.
  requireTogether(AUTH, values, {
    any: ['jwks', 'issuer', 'audience', 'eventsAudience', 'subjects'],
    all: ['jwks', 'issuer', 'audience'],
  })
  if (jwks === undefined || issuer === undefined || audience === undefined) return undefined
  return {
    issuer,
    audience,
    eventsAudience: eventsAudience ?? audience,
    jwks,
    algorithms,
    subjects,
    clockSkewSeconds,
  }
}

export function readTls(source: Source): TlsConfig | undefined {
  refuseEmpty(TLS, source)
  const values = readRows(TLS, source)
  requireTogether(TLS, values, { any: ['certFile', 'keyFile'], all: ['certFile', 'keyFile'] })
  const { certFile, keyFile } = values
  return certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile }
}

/**
 * Refuses an empty variable. Elsewhere an empty variable counts as not set; here that would admit
 * everyone.
 */
function refuseEmpty(rows: typeof AUTH | typeof TLS, { env }: Source): void {
  for (const { name, allowed } of Object.values(rows))
    if (env[name] === '') throw new Error(`${name} is ""; it must be ${allowed}, or be left out`)
}

/** If a variable of `any` is set, all variables of `all` must be set. */
function requireTogether<Rows extends typeof AUTH | typeof TLS>(
  rows: Rows,
  values: Values<Rows>,
  { any, all }: { readonly any: (keyof Rows)[]; readonly all: (keyof Rows)[] },
): void {
  const nameOf = (field: keyof Rows) => (rows[field] as { name: string }).name
  const given = any.find(field => values[field] !== undefined)
  const missing = all.find(field => values[field] === undefined)
  if (given === undefined || missing === undefined) return
  throw new Error(`${nameOf(missing)} is missing; ${nameOf(given)} needs it`)
}
