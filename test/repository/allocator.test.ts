import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { projectFolder } from '../server.ts'

/** The files that set the environment of a Node process with a memory limit. */
const DEPLOYMENTS = [
  'Dockerfile',
  'templates/typescript/onnx/Dockerfile',
  'scripts/systemd/onnx-function.service',
  'func.yaml',
  'examples/fraud-filter/func.yaml',
]

const SETTING = /^ *(ENV |Environment=|- name: )MALLOC_MMAP_THRESHOLD_(=|\n +value: ")131072"?$/m

for (const file of DEPLOYMENTS)
  test(`${file} lets glibc free large buffers, because otherwise storms of large bodies exceed 512 MiB`, () => {
    assert.match(readFileSync(join(projectFolder, file), 'utf8'), SETTING)
  })
