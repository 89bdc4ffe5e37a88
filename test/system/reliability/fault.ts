export interface Fault {
  readonly how: string
  /** The required programs, each with its install command. */
  readonly needs: Readonly<Record<string, string>>
  /** Yields one row per variant. Leaves no process or file behind. */
  rows(run: Run): AsyncIterable<Row>
}

export interface Run {
  /** Takes minutes, as for results.md; the short form takes seconds. */
  readonly long: boolean
  readonly seed: number
  /** Returns a number from 0 to 1, determined by the seed. */
  readonly random: () => number
  progress(line: string): void
}

export interface Row {
  readonly fault: string
  readonly counts: Readonly<Record<string, number>>
  readonly claims: readonly Claim[]
  /** Why this machine cannot run the fault, if no package would help. */
  readonly notRun?: string
}

export interface Claim {
  /** The claim, such as `0 processes killed`. */
  readonly what: string
  readonly measured: string
  readonly holds: boolean
  /**
   * Whether the claim is about time or memory. Other programs disturb these, so only the long form
   * asserts them.
   */
  readonly measurement?: true
}
