import { readFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import type { Config } from '../config/config.ts'
import { findTransform } from '../transform/find.ts'
import type { Digests } from './digests.ts'
import type { Features } from './features.ts'
import { unreadable } from './file-kind.ts'
import { findModel } from './find-model.ts'
import { readSample, type SampleInput } from './sample.ts'

/** A model as its folder describes it, before the graph is loaded. */
export interface ModelFolder {
  /** The .onnx file. External data is in its folder. */
  readonly file: string
  readonly name: string
  readonly version: string | undefined
  /** A classifier's class names, by index. */
  readonly labels: readonly string[]
  readonly description: string | undefined
  readonly features: Features | undefined
  /** model.json's `batch`: true declares that rows are independent; false forbids shared runs. */
  readonly batch: boolean | undefined
  readonly sample: Readonly<Record<string, SampleInput>> | undefined
  readonly sha256: Digests | undefined
  readonly transform: string | undefined
  /** A transform that is not loaded, because it is beside a stored model. */
  readonly ignoredTransform: string | undefined
}

/**
 * Finds the model at MODEL_DIR and reads model.json.
 * @throws {Error} if there is no model or model.json is invalid
 */
export function readModelFolder(config: Config): ModelFolder {
  const found = findModel(config.modelDir)
  const { modelName, modelVersion, inferenceService } = config
  const path = found.modelJson
  const json = readModelJson(path)
  const sha256 = readDigests(json.sha256, basename(found.file), path)
  const { transform, ignored } = findTransform(found, config)
  if (config.transform === undefined) checkCovered(transform, found.file, sha256)
  return {
    file: found.file,
    name: modelName ?? segment(json.name, 'name', path) ?? inferenceService ?? found.name,
    version: modelVersion ?? segment(json.version, 'version', path) ?? found.version,
    labels: field(json.labels, isTexts, 'labels', 'an array of strings', path) ?? [],
    description: field(json.description, isText, 'description', 'a string', path),
    features: field(
      json.features,
      isFeatures,
      'features',
      'an array of distinct names, or an object that maps input names to such arrays',
      path,
    ),
    batch: field(json.batch, isBoolean, 'batch', 'true or false', path),
    sample: readSample(
      field(json.sample, isRecord, 'sample', 'an object that maps input names to data', path),
      path,
    ),
    sha256,
    transform,
    ignoredTransform: ignored,
  }
}

/**
 * @throws {Error} if sha256 in model.json does not cover a transform that was found without
 * TRANSFORM
 */
function checkCovered(
  transform: string | undefined,
  file: string,
  sha256: Digests | undefined,
): void {
  if (transform === undefined || sha256 === undefined) return
  if (dirname(transform) === dirname(file)) return
  throw new Error(
    `sha256 in model.json does not cover ${transform}; put this file beside the model, set TRANSFORM to its path, or set TRANSFORM=off`,
  )
}

/** A single digest belongs to the .onnx file. */
function readDigests(value: unknown, file: string, path: string): ModelFolder['sha256'] {
  const digests = field(
    value,
    isDigests,
    'sha256',
    '64 hexadecimal digits, or an object that maps file names to such digests',
    path,
  )
  return typeof digests === 'string' ? { [file]: digests } : digests
}

function readModelJson(path: string): Record<string, unknown> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw new Error(`${path} ${unreadable(error)}`)
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new Error(`${path} is not valid JSON: ${(error as Error).message}`)
  }
  if (!isRecord(json)) throw new Error(`${path} must contain a JSON object`)
  return json
}

function field<T>(
  value: unknown,
  isAllowed: (value: unknown) => value is T,
  name: string,
  allowed: string,
  path: string,
): T | undefined {
  if (value === undefined || isAllowed(value)) return value
  throw new Error(`${path}: ${name} must be ${allowed}`)
}

const segment = (value: unknown, name: string, path: string) =>
  field(value, isSegment, name, 'a string without /', path)

const isDigest = (value: unknown): value is string => isText(value) && /^[0-9a-f]{64}$/i.test(value)
const isDigests = (value: unknown): value is string | Record<string, string> =>
  isDigest(value) || (isRecord(value) && Object.values(value).every(isDigest))
const isText = (value: unknown): value is string => typeof value === 'string'
const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText)
const isNames = (value: unknown): value is string[] =>
  isTexts(value) && !value.includes('') && new Set(value).size === value.length
const isFeatures = (value: unknown): value is Features =>
  isNames(value) || (isRecord(value) && Object.values(value).every(isNames))
const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean'
const isSegment = (value: unknown): value is string =>
  isText(value) && value !== '' && !value.includes('/')
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
