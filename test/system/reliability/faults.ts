import { random } from '../../random.ts'
import { need } from '../clients/run.ts'
import type { Fault, Row, Run } from './fault.ts'

/** By command-line name, in the table's order. */
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

/** @throws {Error} when a required program is missing, or from a fault that could not be caused */
export async function* rowsOf(
  name: Name,
  { long, seed, progress }: Omit<Run, 'random'>,
): AsyncIterable<Row> {
  const fault: Fault = (await import(`./${name}.ts`)).default
  for (const [program, install] of Object.entries(fault.needs)) await need(program, install)
  yield* fault.rows({ long, seed, random: random(seed), progress })
}
