/** Quotes a text as one word for a shell. */
export const quote = text => `'${text.replaceAll("'", `'\\''`)}'`

/**
 * Returns a command for a POSIX shell that sends a request.
 * @param {object} request
 * @param {string} request.url
 * @param {string} request.method
 * @param {readonly (readonly [name: string, value: string])[]} request.headers
 * @param {string} [request.body]
 * @param {string} [request.tail] bytes after the body, in Base64
 * @param {string} [request.file] the file from which curl reads the body instead
 */
export function curl({ url, method, headers, body = '', tail = '', file }) {
  const hasBody = body !== '' || tail !== '' || file !== undefined
  const parts = [`curl ${quote(url)}`]
  if (/[[\]{}]/.test(url)) parts.push('--globoff')
  if (method === 'HEAD') parts.push('--head')
  else if (method !== (hasBody ? 'POST' : 'GET')) parts.push(`-X ${method}`)
  for (const [name, value] of headers)
    parts.push(`-H ${quote(value === '' ? `${name};` : `${name}: ${value}`)}`)
  // Without this option, curl would declare the body as a form.
  if (hasBody && !headers.some(([name]) => name.toLowerCase() === 'content-type'))
    parts.push(`-H 'Content-Type:'`)
  if (file !== undefined) parts.push(`--data-binary ${quote(`@${file}`)}`)
  else if (tail !== '') {
    parts.push('--data-binary @-')
    const bytes = `printf %s ${quote(tail)} | base64 -d`
    const all = body === '' ? bytes : `{ printf %s ${quote(body)}; ${bytes}; }`
    return `${all} |\n  ${parts.join(' \\\n  ')}`
  } else if (body !== '') parts.push(`${body.startsWith('@') ? '--data-raw' : '-d'} ${quote(body)}`)
  return parts.join(' \\\n  ')
}

export const fromBase64 = text => Uint8Array.from(atob(text), character => character.charCodeAt(0))
export const toBase64 = bytes => btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''))
