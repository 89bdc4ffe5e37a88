import type { ModelFolder } from '../../function/inference/model-folder.ts'
import type { OnnxFile } from './graph.ts'
import type { Found } from './measure.ts'
import type { Problem } from './problem.ts'
import type { TriedTransform } from './try-transform.ts'

export interface Report {
  /** Absent when there is no readable model. */
  readonly folder?: ModelFolder
  readonly fileBytes?: number
  /** The file and all files beside it. */
  readonly folderBytes?: number
  /** Undefined when the file is not an ONNX model. */
  readonly onnx?: OnnxFile
  /** Undefined when the model was not tried. */
  readonly found?: Found
  /** Undefined when there is no transform, or the model cannot be served. */
  readonly transform?: TriedTransform
  readonly problems: readonly Problem[]
}

/** A report on a model that was tried. */
export type Checked = Required<
  Pick<Report, 'folder' | 'fileBytes' | 'folderBytes' | 'onnx' | 'found'>
>
