import type { Signature, TensorMetadata } from '../protocol/tensor.ts'

/**
 * The name of the file with a model's types. TypeScript uses it for `./model.onnx` if
 * `allowArbitraryExtensions` is set (tsconfig.json).
 */
export const modelTypesFile = (modelFile: string) => modelFile.replace(/\.onnx$/, '.d.onnx.ts')

/**
 * A model's tensors as TypeScript: the interface `Model`, which types a transform. The same model
 * always gives the same bytes.
 * @param modelFile the file's name, as the transform imports it
 */
export const modelTypes = (
  { inputs, outputs }: Signature,
  modelFile: string,
): string => `// The tensors of ${modelFile}, written by \`onnx-function types\`. Write them again when the model changes.

export interface Model {
${half('inputs', inputs)}
${half('outputs', outputs)}
}
`

function half(name: string, tensors: readonly TensorMetadata[]): string {
  if (tensors.length === 0) return `  ${name}: {}`
  const lines = tensors.map(
    tensor =>
      `    ${key(tensor.name)}: { datatype: '${tensor.datatype}'; shape: ${shape(tensor)} }`,
  )
  return [`  ${name}: {`, ...lines, '  }'].join('\n')
}

/** Some readers of source text treat line separators as line ends. */
const key = (name: string) =>
  IDENTIFIER.test(name)
    ? name
    : `'${JSON.stringify(name).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`.replace(
        /[\u2028\u2029]/g,
        separator => `\\u${separator.charCodeAt(0).toString(16)}`,
      )

/** A variable dimension is `number`, labelled with the graph's name if that can be a label. */
function shape({ shape, dimensionNames, anyRank }: TensorMetadata): string {
  if (anyRank) return 'number[]'
  const dimensions = shape.map((dimension, i) => {
    if (dimension !== -1) return String(dimension)
    const name = dimensionNames[i] ?? ''
    return IDENTIFIER.test(name) && !RESERVED.has(name) ? `${name}: number` : 'number'
  })
  return `[${dimensions.join(', ')}]`
}

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/

/** Words that the compiler does not accept as the label of a dimension. */
const RESERVED = new Set(
  (
    'break case catch class const continue debugger default delete do else enum export extends false finally for function if import in ' +
    'instanceof new null return super switch this throw true try typeof var void while with'
  ).split(' '),
)
