/** A fault, and the claims that must hold during it: the default export of each file here. */
export interface Fault {
  /** The fault, and the real programs involved. */
  readonly how: string
  /** Programs it needs, each with how to install it. */
  readonly needs: Readonly<Record<string, string>>
  /**
   * Causes the fault; yields a row per variant with its counts. Leaves no process or file behind.
   */
  rows(run: Run): AsyncIterable<Row>
}

export interface Run {
  /** The form that results.md shows, which takes minutes; the short form takes seconds. */
  readonly long: boolean
  readonly seed: number
  /** Numbers from 0 to 1, from the seed. */
  readonly random: () => number
  /** Reports progress. */
  progress(line: string): void
}

export interface Row {
  /** The fault. */
  readonly fault: string
  readonly counts: Readonly<Record<string, number>>
  readonly claims: readonly Claim[]
  /** Why the machine could not run it, if no package can provide what is missing. */
  readonly notRun?: string
}

export interface Claim {
  /** The claim: `0 failed`. */
  readonly what: string
  readonly measured: string
  readonly holds: boolean
  /** About times or memory, which other work can disturb: asserted only in the long form. */
  readonly measurement?: true
}
