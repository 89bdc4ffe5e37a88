/** One thing to know before the model is deployed, and what to do about it, in one line. */
export interface Problem {
  /** An error must be mended, a warning should be; a hint makes it better. */
  readonly level: 'error' | 'warning' | 'hint'
  readonly text: string
}
