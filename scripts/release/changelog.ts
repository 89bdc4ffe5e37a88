/**
 * The text between one second-level heading and the next, without surrounding blank lines;
 * undefined if the heading does not exist.
 */
export function section(changelog: string, title: string): string | undefined {
  const part = changelog
    .split(/^## /m)
    .find(text => text === title || text.startsWith(`${title}\n`) || text.startsWith(`${title} - `))
  return part?.slice(part.indexOf('\n') + 1).trim()
}

export function released(changelog: string, version: string, date: string): string {
  return changelog.replace(/^## Unreleased$/m, `## Unreleased\n\n## ${version} - ${date}`)
}

/**
 * Changes under these titles require action by users. They determine the next version
 * (docs/releasing.md).
 */
export const BREAKING = ['Removed', 'Breaking']

export const under = (notes: string, titles: readonly string[]): string =>
  notes
    .split(/^### /m)
    .filter(part => titles.includes(part.slice(0, part.indexOf('\n')).trim()))
    .join('\n')
