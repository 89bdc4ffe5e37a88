/** One finding before the model is deployed, and what to do about it, in one line. */
export interface Problem {
  /** An error must be fixed, a warning should be; a hint is an improvement. */
  readonly level: 'error' | 'warning' | 'hint'
  readonly text: string
}
