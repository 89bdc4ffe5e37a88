import { readTemplate } from './template.mjs'

/**
 * The text of each file in a new project, keyed by path. Each character is one byte of the file.
 * The build embeds these files.
 */
export const FILES: Readonly<Record<string, string>> = readTemplate()
