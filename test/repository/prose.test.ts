import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { findHabits } from '../../scripts/prose/habits.ts'
import { textsOf } from '../../scripts/prose/texts.ts'

// Each sentence before and after its revision.
const PAIRS: readonly (readonly [was: string, is: string])[] = [
  [
    'Keys that anybody on the way can change are none.',
    'Require https: over http, anyone on the path could replace the keys.',
  ],
  [
    'That execve is experimental is nothing that who runs this can act on.',
    'Hide Node\u2019s ExperimentalWarning for execve: operators cannot act on it.',
  ],
  [
    'What is alone is not too much, however large.',
    'A single body is always admitted, whatever its size.',
  ],
  [
    'Closing the listener resets who has connected and was not let in yet',
    'Closing the listener resets connections that are still in the accept queue.',
  ],
  [
    'What answering takes besides the request: the model, and where to count and tell of it.',
    'What a request handler depends on: the model, metrics, log and traces.',
  ],
  [
    'It asks nobody who they are: who reaches it is the network\u2019s to say.',
    'No authentication here: restrict access at the network.',
  ],
  [
    'the token is of nobody who may ask here',
    'the token\u2019s subject is not allowed (AUTH_SUBJECTS)',
  ],
  [
    'there is nothing at /x; GET / or /docs tells what there is',
    'not found: /x (see /docs for all routes)',
  ],
  ['GET is not for /x; it takes POST', 'GET is not allowed on /x; allowed: POST'],
  ['Who is let in, and what answers an attacker', 'Authentication and security'],
  ['What goes wrong, and what holds', 'Reliability: faults tested, results, known limits'],
]

const habits = (text: string) => findHabits(text).map(({ habit }) => habit)

describe('a habit', () => {
  for (const [was, is] of PAIRS)
    test(`is found in "${was}", but not in its plain form`, () => {
      assert.notDeepEqual(habits(was), [])
      assert.deepEqual(habits(is), [])
    })

  test('is found in every sentence of a text, with its position', () => {
    const found = findHabits('It is sent.\nWhat is alone is\nadmitted. Here: who asks is answered.')
    assert.deepEqual(
      found.map(({ at, sentence }) => [at, sentence]),
      [
        [12, 'What is alone is admitted.'],
        [45, 'who asks is answered.'],
      ],
    )
  })

  for (const plain of [
    'Who gets a free thread?',
    '**What happens to a request that waits?** It is answered.',
    'Undefined if there is none.',
    'Where the model has no batch dimension, requests run alone.',
    'The log says which variable is wrong, and what is allowed.',
  ])
    test(`is not found in "${plain}"`, () => assert.deepEqual(habits(plain), []))
})

describe('a text', () => {
  const read = (path: string, source: string) =>
    textsOf(path, source).map(({ line, text }) => [line, text.replace(/\s+/g, ' ').trim()])

  test('of a program is a comment, a string or a template', () => {
    const source = [
      "import { a } from './a.ts'",
      '/** Reads `who asks` once.',
      ' * @returns a name */',
      'const quote = /[\'"`]/ // one line',
      '  // and the next',
      "throw new Error('cannot read ' +",
      ` \`the file \${name} of \${size} bytes\`)`,
    ].join('\n')
    assert.deepEqual(read('a.ts', source), [
      [2, 'Reads x once. ; a name'],
      [4, 'one line and the next'],
      [6, 'cannot read the file x of x bytes'],
    ])
  })

  test('of a shell script is a comment or a quoted string', () => {
    const source = '#!/bin/sh\n# Says where.\necho "no pod in $#" \'of two\' $# # here it is\n'
    assert.deepEqual(read('a.sh', source), [
      [2, 'Says where.'],
      [3, 'no pod in $#'],
      [3, 'of two'],
      [3, 'here it is'],
    ])
  })

  test('of a manifest is a comment or a value', () => {
    const source = 'name: a pod # its name\ntexts:\n  - summary: "two words"\n'
    assert.deepEqual(read('a.yaml', source), [
      [1, 'a pod # its name'],
      [3, 'two words'],
    ])
  })

  test('of a page is a paragraph, heading or cell, without code and addresses', () => {
    const source = [
      '# A title',
      'A line of [text](who-asks.md)',
      'and `code`.',
      '- an item',
      '```',
      'what is code',
      '```',
      '| what it is | a b |',
      '|---|---|',
      '| a cell of five words | x |',
    ].join('\n')
    assert.deepEqual(read('a.md', source), [
      [1, '# A title'],
      [2, 'A line of [text and x.'],
      [4, '- an item'],
      [10, 'a cell of five words'],
    ])
  })
})
