/** A comment, string or paragraph, with the file's line breaks. A letter replaces code. */
export interface Text {
  readonly line: number
  readonly text: string
}

// Comments, strings, templates, and regular expressions, which may contain quotes.
const CODE =
  /\/\/.*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`|(?<=[(,=:[!&|?{};\n]\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//g

// Comments, quoted strings and plain YAML values. Inside a word, # and ' have no meaning.
const SCRIPT =
  /(?<=^|\s)#.*|(?<![\w\\])'[^'\n]*'|(?<![\w\\])"(?:\\.|[^"\\\n])*"|(?<=^\s*(?:- )?[\w.-]+: )(?!['"|>&{[]).+/gm

export function textsOf(path: string, source: string): Text[] {
  if (path.endsWith('.md')) return paragraphs(source)
  return pieces(source, /\.(?:sh|ya?ml)$/.test(path) ? SCRIPT : CODE)
}

type Kind = 'line' | 'block' | 'string' | 'other'

const JOINT: Readonly<Record<Kind, RegExp | undefined>> = {
  line: /^[ \t]*\n?[ \t]*$/,
  string: /^\s*\+\s*$/,
  block: undefined,
  other: undefined,
}

/** Joins comments on consecutive lines, and strings joined with +. */
function pieces(source: string, pattern: RegExp): Text[] {
  const found: { start: number; text: string; kind: Kind }[] = []
  let end = 0
  for (const match of source.matchAll(pattern)) {
    const kind = kindOf(match[0])
    const last = found.at(-1)
    const gap = source.slice(end, match.index)
    if (last?.kind === kind && JOINT[kind]?.test(gap)) {
      last.text += gap.replace('+', ' ') + inner(match[0])
    } else {
      found.push({ start: match.index, text: inner(match[0]), kind })
    }
    end = match.index + match[0].length
  }
  return found
    .filter(({ text, kind }) => kind !== 'other' && /\w\s+\w/.test(text))
    .map(({ start, text }) => ({ line: lineAt(source, start), text: withoutCode(text) }))
}

function kindOf(token: string): Kind {
  if (token.startsWith('/*')) return 'block'
  if (token.startsWith('/') && !token.startsWith('//')) return 'other'
  if (token.startsWith('#!')) return 'other'
  return /^(?:\/\/|#)/.test(token) ? 'line' : 'string'
}

function inner(token: string): string {
  if (/^(?:\/\/|#)/.test(token)) return token.replace(/^(?:\/+|#+!?)/, '')
  if (token.startsWith('/*')) return token.slice(2, -2).replace(/^[ \t]*\*+/gm, '')
  return /^['"`]/.test(token) ? token.slice(1, -1) : token
}

function paragraphs(source: string): Text[] {
  const page = source
    .replace(/^(`{3,})[\s\S]*?^\1/gm, blank)
    .replace(/<!--[\s\S]*?-->/g, blank)
    .replace(/^\|?[-:| ]+\|$/gm, blank)
    .replace(/\]\([^)\n]*\)/g, blank)
  const texts: Text[] = []
  for (const match of page.matchAll(
    /^[|#].*|^[^\n]+(?:\n(?![|#\n]|\s*(?:[-*]|\d+\.) )[^\n]+)*/gm,
  )) {
    const line = lineAt(page, match.index)
    const cells = match[0].startsWith('|') ? withoutCode(match[0]).split('|') : [match[0]]
    // Short cells, such as the names of columns, are not sentences.
    const sentences = cells.filter(text => cells.length === 1 || text.trim().split(' ').length > 3)
    for (const text of sentences)
      if (text.trim() !== '') texts.push({ line, text: withoutCode(text) })
  }
  return texts
}

/** Keeps patterns from matching code and inserted values. */
function withoutCode(text: string): string {
  return text
    .replace(/\$\{[^{}]*\}/g, 'x')
    .replace(/(`+)[^`]+\1/g, 'x')
    .replace(/@(?:returns|throws|param(?: \w+)?)\b/g, ';')
}

const blank = (text: string) => text.replace(/[^\n]/g, ' ')

const lineAt = (source: string, index: number) => source.slice(0, index).split('\n').length
