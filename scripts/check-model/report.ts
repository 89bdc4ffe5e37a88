import type { ModelFolder } from '../../function/inference/model-folder.ts'
import type { OnnxFile } from './graph.ts'
import type { Found } from './measure.ts'
import type { Problem } from './problem.ts'
import type { TriedTransform } from './try-transform.ts'

export interface Report {
  readonly folder?: ModelFolder
  readonly fileBytes?: number
  /** The size of the model's file and of all other files in its folder. */
  readonly folderBytes?: number
  /** Undefined if the file is not an ONNX model. */
  readonly onnx?: OnnxFile
  /** Undefined if the model was not run. */
  readonly found?: Found
  /** Undefined if there is no transform, or if the model cannot be served. */
  readonly transform?: TriedTransform
  readonly problems: readonly Problem[]
}

export type Checked = Required<
  Pick<Report, 'folder' | 'fileBytes' | 'folderBytes' | 'onnx' | 'found'>
>
