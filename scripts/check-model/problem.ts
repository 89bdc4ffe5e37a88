export interface Problem {
  /** An error must be fixed, and a warning should be fixed; a hint suggests an improvement. */
  readonly level: 'error' | 'warning' | 'hint'
  readonly text: string
}
