import { random } from '../../random.ts'
import { need } from '../clients/run.ts'
import type { Fault, Row, Run } from './fault.ts'

/** The faults in the order of results.md. */
export const NAMES = [
  'restarts',
  'killed',
  'overload',
  'clients',
  'connections',
  'machine',
  'input',
  'soak',
] as const
export type Name = (typeof NAMES)[number]

/** @throws {Error} if a required program is missing or the fault cannot be caused */
export async function* rowsOf(
  name: Name,
  { long, seed, progress }: Omit<Run, 'random'>,
): AsyncIterable<Row> {
  const fault: Fault = (await import(`./${name}.ts`)).default
  for (const [program, install] of Object.entries(fault.needs)) await need(program, install)
  yield* fault.rows({ long, seed, random: random(seed), progress })
}
