import { closeSync, openSync, readSync } from 'node:fs'

/* Recognizes files that are not ONNX models, and says what to do about them. */

export const LFS_POINTER = 'a Git LFS pointer'
const EXPORT = 'export it to ONNX, and give that file'

const PICKLE = `a Python pickle, as scikit-learn, joblib and PyTorch write it. In Python, ${EXPORT}`
const WEB_PAGE = 'a web page, not the model. Download it again, and look at the answer'

/** Content that identifies other kinds of files, at an offset near the start. */
const KINDS: readonly (readonly [at: number, holds: string, kind: string])[] = [
  // The file that Git LFS keeps in place of a large file (git-lfs/docs/spec.md).
  [0, 'version https://git-lfs.github.com/', `${LFS_POINTER}, not the model. Run git lfs pull`],
  [4, 'ORTM', "in ONNX Runtime's own form (.ort). Give the .onnx file that it was made from"],
  [4, 'TFL3', 'a TensorFlow Lite model. Convert it by tf2onnx, and give that file'],
  // Pickle protocols 2 to 5.
  ...['\x80\x02', '\x80\x03', '\x80\x04', '\x80\x05'].map(
    protocol => [0, protocol, PICKLE] as const,
  ),
  [0, 'PK\x03\x04', `a ZIP archive, as PyTorch, Keras and NumPy write it. Unpack it, or ${EXPORT}`],
  [0, '\x89HDF', `an HDF5 file, as Keras writes it. In Python, ${EXPORT}`],
  [0, '\x1f\x8b', 'compressed by gzip. Unpack it'],
  [0, '<!DOCTYPE', WEB_PAGE],
  [0, '<!doctype', WEB_PAGE],
  [0, '<html', WEB_PAGE],
  [0, '<?xml', WEB_PAGE],
]

/** @returns undefined for a file that may be an ONNX model */
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

/** Why a file or folder cannot be read: the system's error code, and the user who is refused. */
export function unreadable(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  return code === 'EACCES'
    ? `cannot be read (EACCES): the process runs as uid ${process.getuid?.()}. Let others read it (chmod a+r; in a Dockerfile COPY --chmod=755)`
    : `cannot be read (${code})`
}
