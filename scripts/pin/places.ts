/** An image by its tag, where it stands in a file, and the digest beside it. */
export interface Place {
  readonly image: string
  /** Undefined: not filled yet. */
  readonly digest: string | undefined
  /** Whether the tag must be of an index that has every architecture we build for. */
  readonly isBase: boolean
}

interface Form {
  /** Its named groups are the image and, where it is filled, the digest. */
  readonly pattern: RegExp
  readonly isBase: boolean
  write(
    place: { readonly before: string; readonly image: string; readonly after: string },
    digest: string,
  ): string
}

const DIGEST = 'sha256:[0-9a-f]{64}'

/** The Dockerfile's own form: a digest that a build can leave out, with a base of its own (docs/containers.md). */
const BASE: Form = {
  pattern: new RegExp(
    `(?<before>^ARG BASE=)(?<image>\\S+)(?<after>\\n(?:#.*\\n)*ARG BASE_DIGEST=)(?<digest>${DIGEST})?$`,
    'gm',
  ),
  isBase: true,
  write: ({ before, image, after }, digest) => `${before}${image}${after}${digest}`,
}

/** `image: NAME:TAG@DIGEST`, or any other key that ends in IMAGE or image; what has no tag, or is a placeholder, is not ours to fill. */
const IMAGE: Form = {
  pattern: new RegExp(
    `(?<before>^[ \\t-]*(?:image|[A-Z_]*IMAGE)[:=] ?["']?)(?<image>(?!ghcr\\.io/example/|dev\\.local/)[\\w./:-]+:[\\w.-]+)(?<after>)(?:@(?<digest>${DIGEST}))?(?=["']?(?:\\s|$))`,
    'gm',
  ),
  isBase: false,
  write: ({ before, image }, digest) => `${before}${image}@${digest}`,
}

const formOf = (path: string) => (path.endsWith('Dockerfile') ? BASE : IMAGE)

/** The images that a file names by tag, from its beginning to its end. */
export const placesIn = (path: string, text: string): Place[] =>
  Array.from(text.matchAll(formOf(path).pattern), ({ groups }) => ({
    image: groups?.image as string,
    digest: groups?.digest,
    isBase: formOf(path).isBase,
  }))

/** The same file with those digests. @param digests by image */
export const filled = (path: string, text: string, digests: ReadonlyMap<string, string>): string =>
  text.replace(formOf(path).pattern, (...match) => {
    const groups = match.at(-1) as { before: string; image: string; after: string }
    const digest = digests.get(groups.image)
    return digest === undefined ? (match[0] as string) : formOf(path).write(groups, digest)
  })
