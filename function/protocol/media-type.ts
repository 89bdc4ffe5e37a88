/** True for application/json, application/*+json, and no type. */
export const isJson = (type: string) => type === '' || /^[^/]+\/(?:[^/]+\+)?json$/.test(type)

export interface MediaType {
  /** In lower case, without parameters; empty if there is no type. */
  readonly type: string
  readonly charset: string
}

/** Caches the last content type, because most callers always send the same content type. */
let last = { contentType: '', mediaType: { type: '', charset: 'utf-8' } }

export function mediaTypeOf(contentType = ''): MediaType {
  if (contentType !== last.contentType)
    last = { contentType, mediaType: readMediaType(contentType) }
  return last.mediaType
}

function readMediaType(contentType: string): MediaType {
  const type = (contentType.split(';', 1)[0] as string).trim().toLowerCase()
  const charset = /;\s*charset\s*=\s*"?([^\s";]*)/i.exec(contentType)?.[1]?.toLowerCase()
  return { type, charset: charset === undefined || charset === 'utf8' ? 'utf-8' : charset }
}
