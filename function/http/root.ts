import { curlCommand, functionVersion, serverMetadata } from '../inference/metadata.ts'
import type { LoadedModel, Model } from '../inference/model.ts'
import type { TensorMetadata } from '../protocol/tensor.ts'
import { modelPath } from './openapi.ts'

/**
 * The page that says what is served here.
 * @param template root.html
 * @param address where the client found this server, such as http://localhost:8080
 */
export function rootPage(
  template: string,
  { name, version, description, labels }: Pick<Model, 'name' | 'version' | 'description' | 'labels'>,
  loaded: Pick<LoadedModel, 'signature' | 'example'>,
  address: string,
): string {
  const { inputs, outputs } = loaded.signature
  const curl = curlCommand(address, name, loaded)
  return fill(template, {
    name: html`${name}`,
    version: html`${version ?? ''}`,
    description: html`${description ?? 'An ONNX model.'}`,
    modelPath: html`${modelPath(name)}`,
    ask:
      curl === undefined
        ? html`<p><a href="/docs#infer">The API\u2019s page</a> has an example.</p>`
        : html`<pre tabindex="0">${curl}</pre>`,
    tensors: table('Inputs', inputs) + table('Outputs', outputs),
    labels: labels.length === 0 ? '' : html`<h2>Labels</h2><p>${labels.join(', ')}</p>`,
    server: html`${serverMetadata.name} ${functionVersion}`,
  })
}

const table = (caption: string, tensors: readonly TensorMetadata[]) =>
  `${html`<table><caption><h2>${caption}</h2></caption>`}
    <thead><tr><th scope="col">Name</th><th scope="col">Datatype</th><th scope="col">Shape</th></tr></thead>
    <tbody>${tensors.map(row).join('\n')}</tbody></table>`

const row = ({ name, datatype, shape, dimensionNames, anyRank }: TensorMetadata) => {
  const shown = shape.map((dimension, i) => (dimension === -1 ? dimensionNames[i] || 'any' : dimension)).join(', ')
  return html`<tr><td><code>${name}</code></td><td><code>${datatype}</code></td><td><code>${anyRank ? 'any' : `[${shown}]`}</code></td></tr>`
}

/** The template's text is markup; everything put into it is text. */
const html = (strings: TemplateStringsArray, ...values: readonly string[]) => String.raw({ raw: strings }, ...values.map(escapeHtml))

const escapeHtml = (text: string) => text.replaceAll(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)

const fill = (template: string, values: Readonly<Record<string, string>>) =>
  template.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => values[name] ?? '')
