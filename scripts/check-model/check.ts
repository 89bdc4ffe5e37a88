import { fork } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import type { Config } from '../../function/config/config.ts'
import { checkDigests } from '../../function/inference/digests.ts'
import { folderBytes } from '../../function/inference/execution.ts'
import { externalDataProblems } from '../../function/inference/external-data.ts'
import { type ModelFolder, readModelFolder } from '../../function/inference/model-folder.ts'
import { type OnnxFile, readOnnxFile } from './graph.ts'
import type { Found, Question, Said } from './measure.ts'
import type { Problem } from './problem.ts'
import { problemsOf } from './problems.ts'
import type { Report } from './report.ts'
import type { TransformFolder, TriedTransform } from './try-transform.ts'

export async function checkModel(config: Config): Promise<Report> {
  let folder: ModelFolder
  try {
    folder = readModelFolder(config)
  } catch (error) {
    return { problems: [{ level: 'error', text: (error as Error).message }] }
  }
  const sizes = {
    folder,
    fileBytes: statSync(folder.file).size,
    folderBytes: folderBytes(folder.file),
  }
  try {
    if (folder.sha256 !== undefined) await checkDigests(folder.file, folder.sha256)
  } catch (error) {
    return { ...sizes, problems: [{ level: 'error', text: (error as Error).message }] }
  }
  let onnx: OnnxFile
  try {
    onnx = await readOnnxFile(folder.file)
  } catch (error) {
    return {
      ...sizes,
      problems: [{ level: 'error', text: noModel((error as Error).message) }],
    }
  }
  const files = externalDataProblems(folder.file, onnx.externalFiles).map(
    (text): Problem => ({ level: 'error', text }),
  )
  if (files.length > 0) return { ...sizes, onnx, problems: files }
  const found = await examine(folder, onnx, config)
  if (typeof found === 'string')
    return { ...sizes, onnx, problems: [{ level: 'error', text: found }] }
  const transform = found.served && (await examineTransform(folder, config))
  const problems = [...problemsOf({ ...sizes, onnx, found }, config), ...ignored(folder)]
  return {
    ...sizes,
    onnx,
    found,
    ...(transform && { transform }),
    problems: [...(transform?.problems ?? []), ...problems],
  }
}

const ignored = ({ ignoredTransform: file }: ModelFolder): Problem[] =>
  file === undefined
    ? []
    : [
        {
          level: 'hint',
          text: `${file} is not loaded, because files beside a stored model are not run as code; set TRANSFORM to load it`,
        },
      ]

function noModel(reason: string): string {
  if (/truncated|empty/.test(reason))
    return `${reason}. Copy or download it again, and compare its size`
  return /not an ONNX model/.test(reason)
    ? `${reason}. Specify the file that the exporter wrote`
    : reason
}

/** The program that measures. In the build, it is a JavaScript file beside this one. */
const MEASURE = new URL(
  import.meta.url.endsWith('.ts') ? './measure.ts' : './measure.js',
  import.meta.url,
)

/** @returns the findings, or one line about how the process ended */
async function examine(
  folder: ModelFolder,
  { operators }: OnnxFile,
  { ortThreads }: Config,
): Promise<Found | string> {
  const { child, exited } = startMeasuring({ folder, operators, ortThreads })
  let doing = 'starting'
  let result: Found | string | undefined
  child.on('message', (said: Said) => {
    if ('doing' in said) doing = said.doing
    else if ('found' in said) result = said.found
    else if ('failure' in said) result = `${doing} failed: ${said.failure}`
  })
  const [code, signal] = await exited
  const died = `the model crashed the process while ${doing} (${signal ?? `exit code ${code}`})`
  return result ?? `${died}: ${WHY_DIED[signal ?? ''] ?? 'it would crash a server, too'}`
}

function startMeasuring(question: Question | TransformFolder) {
  const child = fork(MEASURE, {
    execArgv: ['--expose-gc'],
    serialization: 'advanced',
    // After a crash, the report replaces the output of ONNX Runtime and the C library.
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  child.send(question)
  return { child, exited: once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]> }
}

/** The longest time for a call to the transform, even if RUN_TIMEOUT_MS is longer or 0. */
const MOST_MS = 30_000

/** Calls the author's code once, in its own process: it may exit or hang. */
async function examineTransform(
  folder: ModelFolder,
  { runTimeoutMs }: Config,
): Promise<TriedTransform | undefined> {
  const { transform: file } = folder
  if (file === undefined) return undefined
  const { child, exited } = startMeasuring({ ...folder, transform: file })
  const most = runTimeoutMs > 0 ? Math.min(runTimeoutMs, MOST_MS) : MOST_MS
  const timer = setTimeout(() => child.kill('SIGKILL'), most)
  let tried: TriedTransform | undefined
  let failure: string | undefined
  child.on('message', (said: Said) => {
    if ('tried' in said) tried = said.tried
    else if ('failure' in said) failure = said.failure
  })
  const [code, signal] = await exited
  clearTimeout(timer)
  if (tried !== undefined) return tried
  const ended =
    signal === 'SIGKILL'
      ? `did not return within ${most} ms`
      : `terminated the process (${signal ?? `exit code ${code}`})`
  const text = `the transform ${file} ${failure === undefined ? ended : `could not be tested: ${failure}`}`
  return { file, parts: [], problems: [{ level: 'error', text }] }
}

const WHY_DIED: Readonly<Record<string, string>> = {
  SIGKILL: 'the model probably needs more memory than is available',
  SIGFPE:
    'an operator divides integers by zero, which ONNX Runtime does not check (converted KNNImputers contain such an operator). The model would crash a server at startup, and at any request with such values. A sample in model.json may prevent the crash at startup; if callers can send such values, export the model without that operator',
}
