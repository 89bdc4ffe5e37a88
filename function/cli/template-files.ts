import { readTemplate } from './template.mjs'

/**
 * The files of a new project, keyed by path, with one character per byte. The build embeds these
 * files.
 */
export const FILES: Readonly<Record<string, string>> = readTemplate()
