import { execFile } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/*
 * perf_analyzer needs glibc 2.38: on an older Debian, it uses the libraries of Debian 13, which apt
 * downloads without installing them.
 */

const VERSION = '2.60.0'
const NEEDS_GLIBC = 2.38
const LIBRARIES = ['libc6', 'libstdc++6', 'libgcc-s1']

const run = promisify(execFile)
const FOLDER = fileURLToPath(new URL(`.build/perf-analyzer-${VERSION}`, import.meta.url))
const PROGRAM = join(FOLDER, 'wheel/perf_analyzer/bin/perf_analyzer')
const DEBIAN = join(FOLDER, 'debian')
const LIBRARY_PATH = join(DEBIAN, 'usr/lib/x86_64-linux-gnu')
const INSTALL_MS = 5 * 60_000

export type PerfAnalyzer = (...options: string[]) => Promise<string>

export async function perfAnalyzer(): Promise<PerfAnalyzer> {
  const done = join(FOLDER, 'installed')
  if (!existsSync(done)) {
    rmSync(FOLDER, { recursive: true, force: true })
    mkdirSync(FOLDER, { recursive: true })
    await installProgram()
    if (needsLibraries()) await installLibraries()
    writeFileSync(done, '')
  }
  const command = needsLibraries()
    ? [join(LIBRARY_PATH, 'ld-linux-x86-64.so.2'), '--library-path', LIBRARY_PATH, PROGRAM]
    : [PROGRAM]
  const [program, ...before] = command as [string, ...string[]]
  return async (...options) =>
    (await run(program, [...before, ...options], { timeout: 120_000 })).stdout
}

function needsLibraries(): boolean {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
  const [major = 0, minor = 0] = (header.glibcVersionRuntime ?? '0').split('.').map(Number)
  return major + minor / 100 < NEEDS_GLIBC
}

async function installProgram(): Promise<void> {
  const wheel = `--platform manylinux_2_38_x86_64 --only-binary :all: --no-deps --quiet`
  const pip = `-m pip --disable-pip-version-check download ${wheel} perf-analyzer==${VERSION}`
  await run('python3', [...pip.split(' '), '--dest', FOLDER], { timeout: INSTALL_MS })
  const file = readdirSync(FOLDER).find(name => name.endsWith('.whl')) as string
  await run('python3', ['-m', 'zipfile', '-e', join(FOLDER, file), join(FOLDER, 'wheel')])
  chmodSync(PROGRAM, 0o755)
}

/** All state of apt is in the folder, so that apt needs no root and does not change this system. */
async function installLibraries(): Promise<void> {
  const apt = join(FOLDER, 'apt')
  for (const folder of ['lists/partial', 'cache/archives/partial'])
    mkdirSync(join(apt, folder), { recursive: true })
  const source =
    'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main'
  writeFileSync(join(apt, 'sources.list'), `${source}\n`)
  const options = [
    `Dir::Etc::SourceList=${apt}/sources.list`,
    'Dir::Etc::SourceParts=/dev/null',
    `Dir::State::Lists=${apt}/lists`,
    `Dir::Cache=${apt}/cache`,
    'Acquire::Languages=none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false',
    'APT::Sandbox::User=root',
  ].flatMap(option => ['-o', option])
  const aptGet = (...args: string[]) =>
    run('apt-get', [...options, ...args], { cwd: apt, timeout: INSTALL_MS })
  await aptGet('update')
  await aptGet('download', ...LIBRARIES)
  for (const file of readdirSync(apt).filter(name => name.endsWith('.deb')))
    await run('dpkg', ['--extract', join(apt, file), DEBIAN])
}
