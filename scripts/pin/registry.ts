import { createHash } from 'node:crypto'

/** An image as a registry knows it. */
export interface Image {
  /** Host and port. */
  readonly registry: string
  readonly repository: string
  readonly tag: string
}

/** Reads `node:24` as Docker does: of Docker Hub unless a host comes first, of `library/` unless somebody is named. */
export function parseImage(reference: string): Image {
  const [, host, path, tag] =
    /^(?:((?:[^/]*[.:][^/]*)|localhost)\/)?([^:@]+):([\w][\w.-]*)$/.exec(reference) ?? []
  if (path === undefined || tag === undefined)
    throw new Error(`"${reference}" is no image with a tag, such as docker.io/library/node:24`)
  if (host !== undefined && host !== 'docker.io') return { registry: host, repository: path, tag }
  return {
    registry: 'registry-1.docker.io',
    repository: path.includes('/') ? path : `library/${path}`,
    tag,
  }
}

/** What an index or a manifest of one architecture calls itself, by OCI and by Docker. */
const INDEXES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
]
const MANIFESTS = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
]

const PATIENCE_MS = 30_000

export interface Resolved {
  readonly digest: string
  /** Such as linux/amd64; undefined where the tag is not of an index, but of one image. */
  readonly platforms: readonly string[] | undefined
}

/**
 * Asks a registry what a tag stands for (OCI Distribution Specification, "Pulling manifests").
 * The digest is counted from what it sent, not taken from what it says.
 * @throws {Error} naming the image and what was wrong: unreachable, unknown, not allowed, asked too often
 */
export async function resolve(image: Image): Promise<Resolved> {
  const { registry, repository, tag } = image
  const url = `${origin(registry)}/v2/${repository}/manifests/${tag}`
  const accept = [...INDEXES, ...MANIFESTS].join(', ')
  let answer = await get(url, { accept })
  if (answer.status === 401) {
    const token = await getToken(answer.headers.get('www-authenticate') ?? '', image)
    answer = await get(url, { accept, authorization: `Bearer ${token}` })
  }
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}${meaning(answer)}`)
  const body = Buffer.from(await answer.arrayBuffer())
  const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`
  const said = answer.headers.get('docker-content-digest') ?? digest
  if (said !== digest) throw new Error(`${url} says ${said}, and sent what is ${digest}`)
  return { digest, platforms: platformsOf(body.toString(), url) }
}

function platformsOf(body: string, url: string): string[] | undefined {
  let document: {
    mediaType?: string
    manifests?: readonly { platform?: { os?: string; architecture?: string } }[]
    config?: object
  }
  try {
    document = JSON.parse(body)
  } catch {
    throw new Error(`${url} sent no JSON`)
  }
  if (document.manifests !== undefined) {
    return document.manifests.map(({ platform }) => `${platform?.os}/${platform?.architecture}`)
  }
  if (document.config === undefined) throw new Error(`${url} sent neither an index nor a manifest`)
  return undefined
}

/** As anybody, by the challenge of RFC 6750 that registries give. */
async function getToken(challenge: string, { registry, repository }: Image): Promise<string> {
  const parameters = Object.fromEntries(
    Array.from(challenge.matchAll(/(\w+)="([^"]*)"/g), ([, name, value]) => [name, value]),
  )
  if (!/^bearer /i.test(challenge) || parameters.realm === undefined) {
    throw new Error(
      `${registry} wants another login than a token for ${repository}: “${challenge}”`,
    )
  }
  const url = new URL(parameters.realm)
  if (parameters.service !== undefined) url.searchParams.set('service', parameters.service)
  url.searchParams.set('scope', parameters.scope ?? `repository:${repository}:pull`)
  const answer = await get(url.href, {})
  if (!answer.ok)
    throw new Error(
      `${url.origin} gave no token for ${repository}: ${answer.status}${meaning(answer)}`,
    )
  const { token, access_token } = (await answer.json()) as { token?: string; access_token?: string }
  const given = token ?? access_token
  if (given === undefined)
    throw new Error(`${url.origin} answered without a token for ${repository}`)
  return given
}

async function get(url: string, headers: Readonly<Record<string, string>>): Promise<Response> {
  try {
    return await fetch(url, { headers, signal: AbortSignal.timeout(PATIENCE_MS) })
  } catch (error) {
    const { cause, message } = error as Error
    throw new Error(
      `${new URL(url).host} cannot be reached: ${(cause as Error | undefined)?.message || message}`,
    )
  }
}

function meaning({ status, headers }: Response): string {
  if (status === 404) return ': there is no such image or tag'
  if (status === 401 || status === 403) return ': it is not for everybody, or not there'
  if (status !== 429) return ''
  const after = headers.get('retry-after')
  return `: it was asked too often; try again ${after === null ? 'later' : `in ${after} s`}`
}

/** As Docker: a registry on this machine speaks plain HTTP. */
const origin = (registry: string) =>
  `${/^(localhost|127\.0\.0\.1)(:|$)/.test(registry) ? 'http' : 'https'}://${registry}`
