import type { LoadedModel } from '../../inference/loaded-model.ts'
import { functionVersion, serverMetadata } from '../../inference/metadata.ts'
import type { Model } from '../../inference/model.ts'
import { tryCommand } from '../../inference/try-it.ts'
import { show } from '../../protocol/json.ts'
import { shortest } from '../../protocol/shortest.ts'
import { elementCount, type Tensor, type TensorMetadata } from '../../protocol/tensor.ts'
import type { DescribedTransform } from '../../transform/described.ts'
import { exampleOf } from '../../transform/example.ts'
import { mediaTypeOf } from '../../transform/schema.ts'
import { EVENT } from './events.ts'

const modelPath = (name: string) => `/v2/models/${encodeURIComponent(name)}`

/** For a larger example, the page contains only the shape. */
const MOST_ELEMENTS = 250_000

/** Finding the shortest digits takes a microsecond per value, and a picture does not need them. */
const MOST_SHORT = 1_000

/**
 * Creates the page with the model and a form for trying it.
 * @param template playground.html
 * @returns a function that returns the page for a client that reached this server at a URL such as
 * http://localhost:8080
 */
export function createPlayground(
  template: string,
  model: Pick<Model, 'name' | 'version' | 'description' | 'labels'>,
  loaded: Described,
): (address: string) => string {
  const { name, version, description } = model
  const { inputs, outputs } = loaded.signature
  const labels = labelsOf(model.labels, outputs)
  // In a script element, the only markup is the end tag.
  const described = JSON.stringify(describe(model, loaded)).replaceAll('<', '\\u003c')
  return address => {
    const curl = tryCommand(address, name, loaded, loaded.transform)
    return fill(template, {
      name: html`${name}`,
      version: html`${version ?? ''}`,
      description: html`${description ?? 'An ONNX model.'}`,
      modelPath: html`${modelPath(name)}`,
      ask:
        curl === undefined
          ? html`<p><a href="/docs#infer">The API page</a> has an example.</p>`
          : html`<pre tabindex="0">${curl}</pre>`,
      tensors: tables(loaded),
      features: Object.entries(loaded.features)
        .map(([input, names]) => {
          const of = inputs.length === 1 ? '' : ` of ${input}`
          return html`<section><h2>Features${of}</h2><p>${names.join(', ')}</p></section>`
        })
        .join('\n'),
      labels:
        labels.length === 0
          ? ''
          : html`<section><h2>Labels</h2><p>${labels.join(', ')}</p></section>`,
      server: html`${serverMetadata.name} ${functionVersion}`,
      model: described,
    })
  }
}

type Described = Pick<LoadedModel, 'signature' | 'example' | 'features'> & {
  readonly transform?: DescribedTransform | undefined
}

const describeTransform = ({ preprocess, postprocess, input, output }: DescribedTransform) => ({
  preprocess,
  postprocess,
  input,
  output,
  mediaType: mediaTypeOf(input),
  example: exampleOf(input ?? true),
})

/** model.json's labels, or else the first output's labels in the graph. */
const labelsOf = (labels: readonly string[], outputs: readonly TensorMetadata[]) =>
  labels.length > 0 ? labels : (outputs.find(output => output.labels)?.labels ?? [])

function describe(
  { name, labels }: Pick<Model, 'name' | 'labels'>,
  { signature: { inputs, outputs }, example, features, transform }: Described,
) {
  return {
    inferPath: `${modelPath(name)}/infer`,
    labels,
    event: EVENT,
    transform: transform && describeTransform(transform),
    inputs: inputs.map(input => ({
      ...input,
      /** As the server's errors show it. */
      shown: show(input.name),
      features: features[input.name],
      example: tensorExample(example.find(({ name }) => name === input.name) as Tensor),
    })),
    outputs: outputs.map(({ name, datatype, shape, anyRank }) => ({
      name,
      datatype,
      shape,
      anyRank,
    })),
  }
}

/**
 * Returns the elements as a person would type them, or `every` if all are equal or there are too
 * many.
 */
function tensorExample(tensor: Tensor) {
  const { shape } = tensor
  const texts = elementCount(shape) > MOST_ELEMENTS ? [] : elementTexts(tensor)
  return texts.every(text => text === texts[0])
    ? { shape, every: texts[0] }
    : { shape, elements: texts }
}

function elementTexts({ datatype, data }: Tensor): string[] {
  switch (datatype) {
    case 'FP32':
      return Array.from(data as Float32Array, value =>
        floatText(data.length > MOST_SHORT ? value : shortest(value)),
      )
    case 'FP64':
      return Array.from(data as Float64Array, floatText)
    case 'FP16':
      return Array.from(data as Uint16Array, bits => floatText(fiveDigits(valueOfHalf(bits))))
    case 'BOOL':
      return Array.from(data as Uint8Array, value => String(value !== 0))
    default:
      return Array.from<unknown, string>(data as Iterable<unknown>, String)
  }
}

const floatText = (value: number) => (Object.is(value, -0) ? '-0' : String(value))

/** Five digits distinguish all FP16 values. */
const fiveDigits = (value: number) => (value === 0 ? value : Number(value.toPrecision(5)))

/** IEEE 754 binary16. */
function valueOfHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25))
}

/** With a transform, `POST /` has other inputs and outputs. */
const tables = ({ signature: { inputs, outputs }, transform }: Described) =>
  transform === undefined
    ? table('Inputs', inputs) + table('Outputs', outputs)
    : table('Model inputs', inputs) + table('Model outputs', outputs)

const table = (caption: string, tensors: readonly TensorMetadata[]) =>
  `<section>${html`<table><caption><h2>${caption}</h2></caption>`}
    <thead><tr><th scope="col">Name</th><th scope="col">Datatype</th><th scope="col">Shape</th></tr></thead>
    <tbody>${tensors.map(row).join('\n')}</tbody></table></section>`

const row = ({ name, datatype, shape, dimensionNames, anyRank }: TensorMetadata) => {
  const shown = shape
    .map((dimension, i) => (dimension === -1 ? dimensionNames[i] || 'any' : dimension))
    .join(', ')
  return html`<tr><td><code>${name}</code></td><td><code>${datatype}</code></td><td><code>${anyRank ? 'any' : `[${shown}]`}</code></td></tr>`
}

/** Creates markup from a template string; inserted values are escaped. */
const html = (strings: TemplateStringsArray, ...values: readonly string[]) =>
  String.raw({ raw: strings }, ...values.map(escapeHtml))

const escapeHtml = (text: string) =>
  text.replaceAll(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)

const fill = (template: string, values: Readonly<Record<string, string>>) =>
  template.replaceAll(/\{\{(\w+)\}\}/g, (braces, name: string) => values[name] ?? braces)
