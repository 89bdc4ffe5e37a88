/** What CHANGELOG.md says between one heading of the second level and the next, without blank lines around it; undefined where there is no such heading. */
export function section(changelog: string, title: string): string | undefined {
  const part = changelog
    .split(/^## /m)
    .find(text => text === title || text.startsWith(`${title}\n`) || text.startsWith(`${title} - `))
  return part?.slice(part.indexOf('\n') + 1).trim()
}

/** The changelog with what was unreleased under its version and date, and nothing unreleased. */
export function released(changelog: string, version: string, date: string): string {
  return changelog.replace(/^## Unreleased$/m, `## Unreleased\n\n## ${version} - ${date}`)
}

/** Titles under which a change is told that somebody must act on; the next version says so (docs/upgrading.md). */
export const BREAKING = ['Removed', 'Breaking']

/** What stands under the given titles of the third level. */
export const under = (notes: string, titles: readonly string[]): string =>
  notes
    .split(/^### /m)
    .filter(part => titles.includes(part.slice(0, part.indexOf('\n')).trim()))
    .join('\n')
