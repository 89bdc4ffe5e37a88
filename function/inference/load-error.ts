import { accessSync, constants, statSync } from 'node:fs'
import { externalDataProblems, externalFilesOf } from './external-data.ts'
import { kindOf, unreadable } from './file-kind.ts'
import { readOnnxModel } from './onnx-file.ts'

/**
 * Returns the reason why a model cannot be loaded, and a remedy. For most files, ONNX Runtime
 * reports only a parsing error.
 * @param said ONNX Runtime's error message
 */
export async function whyNotLoaded(file: string, said: string): Promise<string> {
  try {
    accessSync(file, constants.R_OK)
  } catch (error) {
    return `${file} ${unreadable(error)}`
  }
  if (statSync(file).size === 0) return `${file} is empty`
  const kind = kindOf(file)
  if (kind !== undefined) return `${file} is ${kind}`
  if (/Protobuf parsing failed/.test(said)) return `${file} is not an ONNX model, or is truncated`
  const locale = LOCALE.exec(said)?.[1]
  if (locale !== undefined)
    return `the model's text operators need the locale ${locale}, which is not installed. On Debian and Ubuntu: apt-get install locales && localedef -i ${locale.split('.')[0]} -f UTF-8 ${locale}`
  const [external] = await externalProblems(file)
  return external === undefined ? said : `${external} (${said})`
}

const LOCALE = /Failed to construct locale with name:([\w.-]+)/

/**
 * Returns no problems if onnx-file.ts cannot read the file, because ONNX Runtime may be able to.
 */
async function externalProblems(file: string): Promise<readonly string[]> {
  try {
    return externalDataProblems(file, externalFilesOf(await readOnnxModel(file)))
  } catch {
    return []
  }
}
