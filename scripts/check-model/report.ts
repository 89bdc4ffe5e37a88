import type { ModelFolder } from '../../function/inference/model-folder.ts'
import type { OnnxFile } from './graph.ts'
import type { Found } from './measure.ts'
import type { Problem } from './problem.ts'
import type { TriedTransform } from './try-transform.ts'

export interface Report {
  /** Absent where there is no model to speak of. */
  readonly folder?: ModelFolder
  readonly fileBytes?: number
  /** The file with all that lies beside it. */
  readonly folderBytes?: number
  /** Undefined where the file is no ONNX model. */
  readonly onnx?: OnnxFile
  /** Undefined where the model was not tried. */
  readonly found?: Found
  /** Undefined where there is none, or the model cannot be served. */
  readonly transform?: TriedTransform
  readonly problems: readonly Problem[]
}

/** A report on a model that was tried. */
export type Checked = Required<
  Pick<Report, 'folder' | 'fileBytes' | 'folderBytes' | 'onnx' | 'found'>
>
