/**
 * Tries to refute the prover in function/inference/batchability/ with the models from bend.py:
 *
 *     node refute.ts FOLDER [--models N] [--seed S] [--only REGEX] [--report FILE]
 *       [--deadline-ms MS] [--prover MODULE]
 *
 * Exits with 1 if the rows of a proven model depend on each other, or if the prover fails.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { random } from '../../random.ts'
import { DEADLINE_MS, Runner } from './runner.ts'
import { isDefect, type Model, type Outcome, summary } from './summary.ts'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    models: { type: 'string' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    report: { type: 'string' },
    'deadline-ms': { type: 'string', default: String(DEADLINE_MS) },
    prover: { type: 'string' },
  },
})
const folder = resolve(positionals[0] ?? join(import.meta.dirname, '../.build/bent'))
const seed = Number(options.seed)
const deadlineMs = Number(options['deadline-ms'])
const models = choose(readIndex())
const outcomes = await tryAll()
if (options.report !== undefined)
  writeFileSync(options.report, outcomes.map(outcome => `${JSON.stringify(outcome)}\n`).join(''))
process.stdout.write(summary(outcomes))
process.exitCode = outcomes.some(isDefect) ? 1 : 0

function readIndex(): Model[] {
  const lines = readFileSync(join(folder, 'index.jsonl'), 'utf8').split('\n').filter(Boolean)
  const only = new RegExp(options.only)
  return lines.map(line => JSON.parse(line) as Model).filter(({ model }) => only.test(model))
}

/** Draws evenly from all operators. */
function choose(all: Model[]): Model[] {
  const most = Number(options.models ?? all.length)
  const next = random(seed)
  const drawn = all.map((model, i) => ({ model, i, key: next() })).sort((a, b) => a.key - b.key)
  const taken = new Map<string, number>()
  const turns = drawn.map(({ model, i }) => {
    const turn = taken.get(model.operator) ?? 0
    taken.set(model.operator, turn + 1)
    return { i, turn }
  })
  // The sort is stable, so the models of a turn stay in the drawn order.
  const kept = turns.sort((a, b) => a.turn - b.turn).slice(0, most)
  return kept
    .map(({ i }) => i)
    .sort((a, b) => a - b)
    .map(i => all[i] as Model)
}

async function tryAll(): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  let begun = 0
  const work = async () => {
    const runner = new Runner(options.prover && resolve(options.prover), deadlineMs)
    for (let at = begun++; at < models.length; at = begun++) {
      const model = models[at] as Model
      const file = join(folder, model.model)
      const verdicts = await runner.ask({ file, slow: model.slow, seed: seed + at })
      const outcome: Outcome = { ...model, ...verdicts }
      outcomes[at] = outcome
      if (isDefect(outcome)) process.stdout.write(`${JSON.stringify(outcome)}\n`)
      if (begun % 1000 === 0) process.stderr.write(`${begun} of ${models.length} models\n`)
    }
    runner.close()
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
  return outcomes
}
