/** Formats JSON token by token: JSON.parse would round integers beyond 2^53. */
export function pretty(text) {
  try {
    JSON.parse(text)
  } catch {
    return text
  }
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g)
  let at = 0
  const read = indent => {
    const open = tokens[at++]
    if (open !== '{' && open !== '[') return open
    const close = open === '{' ? '}' : ']'
    const items = []
    while (tokens[at] !== close) {
      let item = read(`${indent}  `)
      if (tokens[at] === ':') {
        at++
        item += `: ${read(`${indent}  `)}`
      }
      items.push(item)
      if (tokens[at] === ',') at++
    }
    at++
    const line = `${open}${items.join(', ')}${close}`
    const scalars = open === '[' && items.every(item => !/^[[{]/.test(item))
    if (scalars || (indent.length + line.length < 80 && !line.includes('\n'))) return line
    return `${open}\n${items.map(item => `${indent}  ${item}`).join(',\n')}\n${indent}${close}`
  }
  return read('')
}

/**
 * Parses JSON like JSON.parse, but converts integers beyond 2^53 to bigints, which keep their
 * digits.
 */
export const parseExactly = text => JSON.parse(text, /** @type {any} */ (exactInteger))

function exactInteger(_key, value, context) {
  return Number.isInteger(value) &&
    !Number.isSafeInteger(value) &&
    /^-?\d+$/.test(context?.source ?? '')
    ? BigInt(context.source)
    : value
}
