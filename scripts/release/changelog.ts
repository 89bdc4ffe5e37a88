/**
 * The text of CHANGELOG.md between one second-level heading and the next, without blank lines
 * around it; undefined when there is no such heading.
 */
export function section(changelog: string, title: string): string | undefined {
  const part = changelog
    .split(/^## /m)
    .find(text => text === title || text.startsWith(`${title}\n`) || text.startsWith(`${title} - `))
  return part?.slice(part.indexOf('\n') + 1).trim()
}

/** The changelog with its unreleased part moved under the version and date. */
export function released(changelog: string, version: string, date: string): string {
  return changelog.replace(/^## Unreleased$/m, `## Unreleased\n\n## ${version} - ${date}`)
}

/** Titles of changes that require action; the next version depends on them (docs/releasing.md). */
export const BREAKING = ['Removed', 'Breaking']

/** The text under the given third-level titles. */
export const under = (notes: string, titles: readonly string[]): string =>
  notes
    .split(/^### /m)
    .filter(part => titles.includes(part.slice(0, part.indexOf('\n')).trim()))
    .join('\n')
