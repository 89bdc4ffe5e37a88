/*
 * Node runs this file if build/main.js is missing, because it then tries the path with .js at its
 * end (https://nodejs.org/api/modules.html, "All together"). Thus a start without a build reports
 * the missing build, and a start with a build reads no additional file.
 */
const [, program] = process.argv
const msg = `${program} is missing: make it with "npm run build". "npm ci" does, but not with --ignore-scripts; and with NODE_ENV=production it needs --include=dev`
process.stdout.write(`${JSON.stringify({ level: 60, time: new Date().toISOString(), msg })}\n`)
process.exitCode = 1
