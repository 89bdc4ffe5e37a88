/** One request's result: right, wrong with a description of the difference, or refused. */
export interface Asked {
  readonly right?: boolean
  readonly wrong?: string
  readonly refused?: string
}

export interface Result {
  readonly name: string
  /** Why the model is not tested, such as a failure of ONNX Runtime itself. */
  readonly notAsked?: string
  readonly notServed?: string
  readonly json?: Asked
  readonly binary?: Asked
}

/** How many models a complete run must serve, by verdict. */
const LEAST = { both: 1840, 'binary only': 47 }

/** The errors for a datatype that JSON cannot represent, and for too many bytes of JSON. */
const NO_JSON = /FP16 has no JSON form|\(MAX_JSON_BYTES\)/

export function verdict({ notAsked, notServed, json = {}, binary = {} }: Result): string {
  if (notAsked !== undefined) return `not tested: ${notAsked}`
  if (json.wrong ?? binary.wrong) return 'WRONG'
  if (json.right && binary.right) return 'both'
  const isOnlyBinary = binary.right && NO_JSON.test(json.refused ?? '')
  return isOnlyBinary && notServed === undefined ? 'binary only' : 'REFUSED'
}

function count(results: readonly Result[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const result of results) counts.set(verdict(result), (counts.get(verdict(result)) ?? 0) + 1)
  return counts
}

const isDefect = (line: string) => line === 'WRONG' || line === 'REFUSED'

export function isExpected(
  results: readonly Result[],
  { isWhole }: { readonly isWhole: boolean },
): boolean {
  const counts = count(results)
  if ([...counts.keys()].some(isDefect)) return false
  return (
    !isWhole || Object.entries(LEAST).every(([line, least]) => (counts.get(line) ?? 0) >= least)
  )
}

export function summary(results: readonly Result[]): string {
  const defects = results.filter(result => isDefect(verdict(result)))
  const lines = [...count(results)].sort(([, a], [, b]) => b - a)
  return [
    ...defects.map(defect => JSON.stringify(defect)),
    ...lines.map(([line, count]) => `${String(count).padStart(6)}  ${line}`),
    '',
  ].join('\n')
}
