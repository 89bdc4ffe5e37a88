/*
 * Node runs this file where build/main.js is missing: a path that is not there is tried again with .js at its end
 * (https://nodejs.org/api/modules.html, "All together"). So a start without a build says what to do, and a start with one reads
 * no file more.
 */
const [, program] = process.argv
const msg = `${program} is missing: make it with "npm run build". "npm ci" does, but not with --ignore-scripts; and with NODE_ENV=production it needs --include=dev`
process.stdout.write(`${JSON.stringify({ level: 60, time: new Date().toISOString(), msg })}\n`)
process.exitCode = 1
