import { readTemplate } from './template.mjs'

/** The files of a new project by path; each character is one byte. The build includes them. */
export const FILES: Readonly<Record<string, string>> = readTemplate()
