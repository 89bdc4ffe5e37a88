import { closeSync, openSync, readSync } from 'node:fs'

/* Recognises files that are not ONNX models, and says how to get an ONNX model. */

export const LFS_POINTER = 'a Git LFS pointer'
const EXPORT = 'export the model to ONNX, and use the exported file'

const PICKLE = `a Python pickle, as written by scikit-learn, joblib and PyTorch. In Python, ${EXPORT}`
const WEB_PAGE = 'a web page, not the model. Download the model again, and check the response'

/** The bytes that identify a kind of file, and their offset. */
const KINDS: readonly (readonly [at: number, holds: string, kind: string])[] = [
  // Git LFS writes this pointer instead of a large file (git-lfs/docs/spec.md).
  [0, 'version https://git-lfs.github.com/', `${LFS_POINTER}, not the model. Run git lfs pull`],
  [4, 'ORTM', "in ONNX Runtime's own format (.ort). Use the .onnx file from which it was created"],
  [4, 'TFL3', 'a TensorFlow Lite model. Convert it with tf2onnx, and use the converted file'],
  // The header of pickle protocols 2 to 5.
  ...['\x80\x02', '\x80\x03', '\x80\x04', '\x80\x05'].map(
    protocol => [0, protocol, PICKLE] as const,
  ),
  [
    0,
    'PK\x03\x04',
    `a ZIP archive, as written by PyTorch, Keras and NumPy. Extract it, or ${EXPORT}`,
  ],
  [0, '\x89HDF', `an HDF5 file, as written by Keras. In Python, ${EXPORT}`],
  [0, '\x1f\x8b', 'compressed with gzip. Decompress it'],
  [0, '<!DOCTYPE', WEB_PAGE],
  [0, '<!doctype', WEB_PAGE],
  [0, '<html', WEB_PAGE],
  [0, '<?xml', WEB_PAGE],
]

/** Describes a file's kind, with a remedy; undefined if the file may be an ONNX model. */
export function kindOf(path: string): string | undefined {
  const begin = beginOf(path)
  return KINDS.find(([at, holds]) => begin.startsWith(holds, at))?.[2]
}

function beginOf(path: string): string {
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(64)
    return bytes.toString('latin1', 0, readSync(file, bytes))
  } finally {
    closeSync(file)
  }
}

/**
 * Says why a file or folder cannot be read: the system's error code and, if access is denied, the
 * process's user.
 */
export function unreadable(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  return code === 'EACCES'
    ? `cannot be read (EACCES): the process runs as uid ${process.getuid?.()}. Give all users read permission (chmod a+r; in a Dockerfile: COPY --chmod=755)`
    : `cannot be read (${code})`
}
