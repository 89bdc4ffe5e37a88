/** Something that goes wrong, and what must hold while it does. A file of this folder has one as its default export. */
export interface Fault {
  /** What is done, on which real parts. */
  readonly how: string
  /** Programs it needs, each with how to install it. */
  readonly needs: Readonly<Record<string, string>>
  /** Brings it about and yields a row for each thing that goes wrong, with what was counted meanwhile. Leaves no process and no file behind. */
  rows(run: Run): AsyncIterable<Row>
}

export interface Run {
  /** The form whose figures stand in docs/reliability.md; the other shows the same in some seconds. */
  readonly long: boolean
  readonly seed: number
  /** Numbers from 0 to 1, drawn from the seed. */
  readonly random: () => number
  /** Tells whoever waits how far it is. */
  progress(line: string): void
}

export interface Row {
  /** What went wrong. */
  readonly fault: string
  readonly counts: Readonly<Record<string, number>>
  readonly claims: readonly Claim[]
  /** Why it could not be brought about here, where that is for the machine to allow and not for a package to bring. */
  readonly notRun?: string
}

export interface Claim {
  /** What must hold: `0 failed`. */
  readonly what: string
  readonly measured: string
  readonly holds: boolean
  /** Of times or of memory, which other work on the machine can spoil: printed, and required of the long form only. */
  readonly measurement?: true
}
