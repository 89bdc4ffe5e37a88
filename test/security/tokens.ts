import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTPayload,
  SignJWT,
} from 'jose'

export const ISSUER = 'https://issuer.example'
export const AUDIENCE = 'iris-classifier'
export const EVENTS_AUDIENCE = 'iris-events'

export interface Key {
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly publicKey: CryptoKey
  readonly jwk: JWK
}

export async function createKey(kid: string, alg = 'RS256'): Promise<Key> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, use: 'sig' } }
}

export const keySet = (...keys: readonly Key[]) =>
  JSON.stringify({ keys: keys.map(({ jwk }) => jwk) })

const now = () => Math.floor(Date.now() / 1000)

export const claims = (more: Readonly<Record<string, unknown>> = {}): JWTPayload => ({
  iss: ISSUER,
  aud: AUDIENCE,
  sub: 'system:serviceaccount:garden:gardener',
  iat: now(),
  exp: now() + 600,
  ...more,
})

export const inSeconds = (seconds: number) => now() + seconds

export const sign = (
  { privateKey, kid }: Pick<Key, 'privateKey' | 'kid'>,
  payload = claims(),
  alg = 'RS256',
  header: object = {},
) => new SignJWT(payload).setProtectedHeader({ alg, kid, ...header }).sign(privateKey)

export interface Issuer {
  readonly url: string
  give(status: number, body: string): void
  readonly asked: number
  stop(): void
}

export async function startIssuer(body: string): Promise<Issuer> {
  let answer = { status: 200, body }
  let asked = 0
  const server: Server = createServer((_request, response) => {
    asked++
    response
      .writeHead(answer.status, { 'content-type': 'application/json', connection: 'close' })
      .end(answer.body)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`,
    give(status, body) {
      answer = { status, body }
    },
    get asked() {
      return asked
    },
    stop: () => server.close(),
  }
}
