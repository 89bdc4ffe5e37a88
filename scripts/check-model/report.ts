import type { ModelFolder } from '../../function/inference/model-folder.ts'
import type { OnnxFile } from './graph.ts'
import type { Found } from './measure.ts'

/** One thing to know before the model is deployed, and what to do about it, in one line. */
export interface Problem {
  /** An error must be mended, a warning should be; a hint makes it better. */
  readonly level: 'error' | 'warning' | 'hint'
  readonly text: string
}

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
  readonly problems: readonly Problem[]
}

/** A report on a model that was tried. */
export type Checked = Required<
  Pick<Report, 'folder' | 'fileBytes' | 'folderBytes' | 'onnx' | 'found'>
>
