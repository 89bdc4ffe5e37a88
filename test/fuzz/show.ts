import { pathOf } from '../grpc/client.ts'
import type { FuzzRequest } from './requests.ts'

/** The bytes as one line of ASCII, shortened in the middle. */
export function show(bytes: Buffer, most = 500): string {
  const part = (from: number, to: number) =>
    JSON.stringify(bytes.toString('latin1', from, to))
      .slice(1, -1)
      .replaceAll(/[\x7f-\xff]/g, character => `\\x${character.charCodeAt(0).toString(16)}`)
  if (bytes.byteLength <= most) return part(0, bytes.byteLength)
  return `${part(0, most / 2)} … ${bytes.byteLength - most} bytes … ${part(bytes.byteLength - most / 2, bytes.byteLength)}`
}

/** Linux allows at most 128 KiB per argument. */
const LONGEST_COMMAND = 20_000

/**
 * Sends the request to a server on port 8080: with curl if curl can send these bytes, or else with
 * nc; undefined if the command is too long.
 */
export function commandOf({ bytes, asked, call }: FuzzRequest): string | undefined {
  const hex = `echo ${bytes.toString('hex')} | xxd -r -p`
  const command =
    call !== undefined
      ? `${hex} | curl -i --http2-prior-knowledge --data-binary @- -H 'content-type: application/grpc' -H 'te: trailers' ${Object.entries(
          call.metadata,
        )
          .map(([name, value]) => `-H '${name}: ${value}' `)
          .join('')}http://localhost:8080${pathOf(call.method)}`
      : asked === undefined || !isPlain(asked)
        ? `${hex} | nc -q 5 localhost 8080`
        : [
            `curl -isg --http1.1 -X ${asked.method} --request-target ${quoted(asked.path)}`,
            // Removes the headers that curl would add.
            ...['Accept', 'User-Agent', 'Content-Type']
              .filter(name => !has(asked, name))
              .map(name => `-H '${name}:'`),
            ...asked.headers.map(
              ([name, value]) => `-H ${quoted(value === '' ? `${name};` : `${name}: ${value}`)}`,
            ),
            ...(asked.body.byteLength > 0 ? [`--data-raw ${quoted(asked.body.toString())}`] : []),
            'http://localhost:8080',
          ].join(' ')
  return command.length > LONGEST_COMMAND ? undefined : command
}

type Asked = NonNullable<FuzzRequest['asked']>

const has = ({ headers }: Asked, name: string) =>
  headers.some(([other]) => other.toLowerCase() === name.toLowerCase())

/** Whether a shell and curl send the request's characters unchanged. */
const isPlain = ({ method, path, headers, body, chunks }: Asked) =>
  chunks === undefined &&
  /^[A-Z]+$/.test(method) &&
  method !== 'HEAD' &&
  /^[\x21-\x7e]+$/.test(path) &&
  headers.every(
    ([name, value]) => /^[\w-]+$/.test(name) && /^(?:[\x21-\x7e][\x20-\x7e]*)?$/.test(value),
  ) &&
  /^[\x20-\x7e\n]*$/.test(body.toString('latin1'))

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`
