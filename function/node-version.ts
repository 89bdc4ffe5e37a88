import manifest from '../package.json' with { type: 'json' }

/** @throws {Error} if Node is older than package.json requires */
export function checkNode(version: string): void {
  const least = manifest.engines.node.replace('>=', '')
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [leastMajor = 0, leastMinor = 0] = least.split('.').map(Number)
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return
  throw new Error(
    `Node ${version} is too old: Node ${least} or later is required (in a clone, "npm ci" installs a suitable Node for "npm start", but not with NODE_ENV=production)`,
  )
}
