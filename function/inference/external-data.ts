import { accessSync, constants, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, normalize } from 'node:path'
import { kindOf, LFS_POINTER, unreadable } from './file-kind.ts'
import type { Graph, Node, OnnxModel, TensorProto } from './onnx-file.ts'

export interface ExternalFile {
  /** The path in the model, relative to the model's folder. */
  readonly location: string
  readonly tensors: number
  /** The smallest file size that contains all its tensors. */
  readonly bytes: number
}

/** Includes the files of nested graphs and functions. */
export function externalFilesOf({ graph, functions }: OnnxModel): ExternalFile[] {
  const found = new Map<string, ExternalFile>()
  noteGraph(graph, found)
  for (const { nodes } of functions) noteNodes(nodes, found)
  return [...found.values()]
}

function noteGraph({ initializers, nodes }: Graph, found: Map<string, ExternalFile>): void {
  for (const tensor of initializers) noteTensor(tensor, found)
  noteNodes(nodes, found)
}

function noteNodes(nodes: readonly Node[], found: Map<string, ExternalFile>): void {
  for (const { attributes } of nodes)
    for (const { tensor, graph } of attributes.values()) {
      if (tensor !== undefined) noteTensor(tensor, found)
      if (graph !== undefined) noteGraph(graph, found)
    }
}

function noteTensor({ external }: TensorProto, found: Map<string, ExternalFile>): void {
  if (external === undefined) return
  const { location, offset, length } = external
  const known = found.get(location)
  const bytes = Math.max(known?.bytes ?? 0, offset + length)
  found.set(location, { location, tensors: (known?.tensors ?? 0) + 1, bytes })
}

/** Lists the problems with the weight files. ONNX Runtime reports only the first. */
export const externalDataProblems = (file: string, files: readonly ExternalFile[]): string[] =>
  files.flatMap(external => {
    const wrong = problemOf(file, external)
    return wrong === undefined ? [] : [`external data "${external.location}" ${wrong}`]
  })

function problemOf(file: string, { location, tensors, bytes }: ExternalFile): string | undefined {
  if (location === '' || isAbsolute(location) || normalize(location).startsWith('..'))
    return "is outside the model's folder, which ONNX Runtime does not allow. Save the model again with its weights in the same folder"
  const path = join(dirname(file), location)
  const size = statSync(path, { throwIfNoEntry: false })?.size
  if (size === undefined) {
    const holds = `the weights of ${tensors} ${tensors === 1 ? 'tensor' : 'tensors'}`
    return `is missing; it contains ${holds}. Put it beside ${basename(file)}, under this name`
  }
  try {
    accessSync(path, constants.R_OK)
  } catch (error) {
    return unreadable(error)
  }
  // Check only small files: weights may begin with any bytes, including a pointer's.
  if (size < 1_024 && kindOf(path)?.startsWith(LFS_POINTER))
    return 'is a Git LFS pointer, not the weights. Run git lfs pull'
  return size < bytes
    ? `has ${size} bytes, but the model needs ${bytes}. Copy the file again; it is truncated or belongs to a different export`
    : undefined
}
