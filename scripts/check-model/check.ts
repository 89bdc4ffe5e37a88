import { fork } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, normalize, resolve } from 'node:path'
import type { Config } from '../../function/config/config.ts'
import { checkDigests } from '../../function/inference/digests.ts'
import { folderBytes } from '../../function/inference/execution.ts'
import {
  describeModel,
  type ModelFolder,
  readModelFolder,
} from '../../function/inference/model-folder.ts'
import { isLfsPointer, type OnnxFile, readOnnxFile } from './graph.ts'
import type { Found, Said } from './measure.ts'
import { problemsOf } from './problems.ts'
import type { Problem, Report } from './report.ts'

/**
 * Looks at a model as the server will: what it is, what callers will see, how fast it runs here, and what is wrong with it.
 * @param path a model folder, or a .onnx file
 * @param config of a server that serves that folder
 */
export async function checkModel(path: string, config: Config): Promise<Report> {
  const isFile = statSync(path).isFile()
  let folder: ModelFolder
  try {
    folder = isFile ? describeModel(resolve(path), config) : readModelFolder(config)
  } catch (error) {
    return { problems: [{ level: 'error', text: (error as Error).message }] }
  }
  const sizes = {
    folder,
    fileBytes: statSync(folder.file).size,
    folderBytes: folderBytes(folder.file),
  }
  const alone = isFile ? whyNotServed(folder.file, config) : []
  try {
    if (folder.sha256 !== undefined) await checkDigests(folder.file, folder.sha256)
  } catch (error) {
    return { ...sizes, problems: [{ level: 'error', text: (error as Error).message }, ...alone] }
  }
  let onnx: OnnxFile
  try {
    onnx = await readOnnxFile(folder.file)
  } catch (error) {
    return {
      ...sizes,
      problems: [{ level: 'error', text: noModel((error as Error).message) }, ...alone],
    }
  }
  const files = missingFiles(folder.file, onnx)
  if (files.length > 0) return { ...sizes, onnx, problems: [...files, ...alone] }
  const found = await examine(folder, onnx, config)
  if (typeof found === 'string')
    return { ...sizes, onnx, problems: [{ level: 'error', text: found }, ...alone] }
  return {
    ...sizes,
    onnx,
    found,
    problems: [...problemsOf({ ...sizes, onnx, found }, config), ...alone],
  }
}

/** What to do about a file that is no ONNX model, by what it is instead. */
function noModel(reason: string): string {
  if (/Git LFS/.test(reason)) return `${reason}. Run git lfs pull`
  if (/cut off|empty/.test(reason))
    return `${reason}. Copy or download it again, and compare its size`
  if (/cannot be read/.test(reason)) return reason
  return `${reason}. Give the file that the exporter wrote`
}

/** A server takes a folder: this file must be the one it finds there. */
function whyNotServed(file: string, config: Config): Problem[] {
  const own = 'put this file in a folder of its own to serve it'
  try {
    const served = readModelFolder({ ...config, modelDir: dirname(resolve(file)) }).file
    return served === file
      ? []
      : [{ level: 'hint', text: `of this folder the server takes ${basename(served)}: ${own}` }]
  } catch {
    return [
      {
        level: 'hint',
        text: `the server takes no file of this folder, for it holds several and none named model.onnx: ${own}`,
      },
    ]
  }
}

/** Weights that are to lie beside the model. ONNX Runtime names only the first, and takes none from outside the folder. */
function missingFiles(file: string, { externalFiles }: OnnxFile): Problem[] {
  return externalFiles.flatMap(({ location, tensors, bytes }) => {
    const holds = `it holds the weights of ${tensors} ${tensors === 1 ? 'tensor' : 'tensors'}`
    const wrong = (text: string): Problem[] => [
      { level: 'error', text: `external data "${location}" ${text}` },
    ]
    if (location === '' || isAbsolute(location) || normalize(location).startsWith('..'))
      return wrong(
        `lies outside the model's folder, where ONNX Runtime takes none. Save the model again, with its weights beside it`,
      )
    const path = join(dirname(file), location)
    const stat = statSync(path, { throwIfNoEntry: false })
    if (stat === undefined)
      return wrong(`is missing: ${holds}. Put it beside ${basename(file)}, under that name`)
    if (stat.size < 1_024 && isLfsPointer(path))
      return wrong('is a Git LFS pointer, not the weights. Run git lfs pull')
    if (stat.size < bytes)
      return wrong(
        `has ${stat.size} bytes, and the model reads ${bytes}. Copy it again; it is cut off, or of another export`,
      )
    return []
  })
}

/** @returns what was found, or one line that says what became of the process */
async function examine(
  folder: ModelFolder,
  { operators }: OnnxFile,
  { ortThreads }: Config,
): Promise<Found | string> {
  const child = fork(new URL('./measure.ts', import.meta.url), {
    execArgv: ['--expose-gc'],
    serialization: 'advanced',
    // What ONNX Runtime or the C library says on the way down is told in our words.
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  let doing = 'starting'
  let result: Found | string | undefined
  child.on('message', (said: Said) => {
    if ('doing' in said) doing = said.doing
    else result = 'found' in said ? said.found : `${doing} failed: ${said.failure}`
  })
  child.send({ folder, operators, ortThreads })
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  const died = `the model ended the process at ${doing} (${signal ?? `exit code ${code}`})`
  return (
    result ??
    (signal === 'SIGKILL'
      ? `${died}: most likely it needs more memory than there is`
      : `${died}: a server would die of it too`)
  )
}
