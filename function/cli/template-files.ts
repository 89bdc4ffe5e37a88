import { readTemplate } from './template.mjs'

/** The files of a new project, by their paths; a character is a byte. The build takes them in. */
export const FILES: Readonly<Record<string, string>> = readTemplate()
