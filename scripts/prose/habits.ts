interface Habit {
  readonly name: string
  readonly pattern: RegExp
  readonly instead: string
}

/**
 * Tested against one sentence, in which a letter replaces code. Questions, and labels such as "What
 * a handler depends on:", are allowed.
 */
const HABITS: readonly Habit[] = [
  {
    name: 'a clause with "what" as the subject',
    pattern: /^(?:most of )?what (?!to |if |(?:an?|the) [^,]*:$)(?!.*\?\W*$)|^whatever (?!.*,)/i,
    instead: 'name the thing: "rows that…", "the reply to…"',
  },
  {
    name: 'a clause with "who" as the subject',
    pattern: /^(?:who|whoever|whom) (?!.*\?\W*$)/i,
    instead: 'callers, clients, operators, authors',
  },
  {
    name: 'a clause with "that" as the subject',
    pattern: /^That (?:an?|the|it|they|no|[a-z]+) .*\b(?:is|are) (?:no|none|nothing|nobody|not)\b/,
    instead: 'begin with the subject and its verb',
  },
  {
    name: 'a clause with "where" as the subject or heading',
    pattern: /^(?:Where (?!.*(?:,|:$|\?\W*$)))/,
    instead: 'a noun, such as "Folders", or a sentence with "where" in its middle',
  },
  {
    name: '"who" for people or programs',
    pattern: new RegExp(
      '\\b(?:for|to|by|from|of|that|keeps?|resets?|lets?|cuts?|and|or|but) who(?:m|ever)? ' +
        '(?!(?:it|they|the \\w+) (?:is|are|was|were)\\b)',
      'i',
    ),
    instead: 'callers, clients, operators, authors',
  },
  {
    name: '"none" as a predicate',
    pattern: /(?<!\bthere )\b(?:is|are|was|were|be) none\b/i,
    instead: 'is not a …, has no …, there is no …',
  },
  {
    name: '"nothing" or "nobody" as a predicate',
    pattern: /(?<!\bthere )\b(?:is|are|was|were) (?:nothing|nobody)(?: that\b|'s\b|\.?$)/i,
    instead: 'the operator cannot …; … is not needed',
  },
  {
    name: '"nobody" with a clause',
    pattern: /\b(?:nobody|somebody|anybody) (?:who|whom|that)\b|\b(?:of|lets) nobody\b/i,
    instead: 'no caller …; the caller is not allowed',
  },
  {
    name: '"there is" without a noun',
    pattern: /\bthere (?:is|was) nothing\b/i,
    instead: 'not found: …; no … to …',
  },
  {
    name: 'vague verbs: tell, let in',
    pattern:
      /\bwhat there is\b|\bcannot be told\b|\b(?:is|are|was|were) (?:told (?:by|with|where)|let in)\b/i,
    instead: 'names, lists, reports, admits; is ambiguous',
  },
  {
    name: '"is not for"',
    pattern: /\b(?:is|are) not for (?!each|every|all|this|that|the)/i,
    instead: 'is not allowed on',
  },
  {
    name: 'an unusual word order',
    pattern:
      /\bso long[,.;]|\b(?:can|cannot) be had\b|\bby whose\b|\bthe others'|\bin (?:the )?place of who|'s to say\b/i,
    instead: 'subject, verb, object',
  },
]

export interface Finding {
  readonly habit: string
  readonly instead: string
  readonly at: number
  readonly sentence: string
}

export function findHabits(text: string): Finding[] {
  const flat = text.replaceAll('\n', ' ')
  const findings: Finding[] = []
  for (const match of flat.matchAll(/\S.*?(?:[.;:!?][*_"”')]*(?=\s|$)|$)/g)) {
    const sentence = match[0].replace(/^[\s(*_"“#>-]+/, '').replace(/[\s)*_]+$/, '')
    const habit = HABITS.find(({ pattern }) => pattern.test(sentence))
    if (!habit) continue
    findings.push({ habit: habit.name, instead: habit.instead, at: match.index, sentence })
  }
  return findings
}
