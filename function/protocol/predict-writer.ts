import type { Encoder } from './codec.ts'
import { type EncodedResponse, encodeData, JsonSize, type ResponseLimits } from './encode.ts'
import { BadRequest, ModelError } from './errors.ts'
import { show } from './json.ts'
import { elementCount, type Tensor, type TensorData } from './tensor.ts'

const ELEMENTS_AT_A_TIME = 16 * 1024

const TEXT_AT_A_TIME = 64 * 1024

const UTF8 = new TextEncoder()

/** Writes a V1 response whose outputs arrive a few rows at a time. Keeps only the encoded bytes. */
export class PredictWriter implements Encoder<EncodedResponse> {
  private readonly instances: number | undefined
  private readonly size: JsonSize
  /** One text for all outputs in row format; one per output in column format. */
  private texts: Text[] = []
  private outputs: readonly Pick<Tensor, 'name' | 'shape'>[] | undefined
  private rows = 0

  /** @param instances the rows of the request; undefined for a response in column format */
  constructor(instances: number | undefined, limits: ResponseLimits) {
    this.instances = instances
    this.size = new JsonSize(limits, 'send fewer rows, or use V2 with binary tensor data')
  }

  /**
   * Writes a run's outputs.
   * @throws {BadRequest} if an output does not have one row per instance
   * @throws {TooLarge} if the response exceeds a limit
   * @throws {ModelError} if these rows differ in shape from earlier ones
   */
  *add(outputs: readonly Tensor[]): Generator<void, void> {
    this.outputs ??= outputs.map(({ name, shape }) => ({ name, shape }))
    this.checkShapes(outputs)
    yield* this.instances === undefined ? this.addColumns(outputs) : this.addRows(outputs)
    this.rows += outputs[0]?.shape[0] ?? 0
  }

  finish(): EncodedResponse {
    const outputs = this.outputs ?? []
    if (this.instances !== undefined) {
      const [first] = outputs
      if (first !== undefined && this.rows !== this.instances) throw this.notRows(first)
      return joined(['{"predictions":[', ...(this.texts[0]?.all() ?? []), ']}'])
    }
    const parts: (string | Uint8Array)[] = ['{"outputs":']
    outputs.forEach(({ name, shape }, i) => {
      if (outputs.length > 1) parts.push(`${i === 0 ? '{' : ','}${JSON.stringify(name)}:`)
      const brackets = shape.length === 0 ? ['', ''] : ['[', ']']
      parts.push(brackets[0] as string, ...(this.texts[i]?.all() ?? []), brackets[1] as string)
    })
    return joined([...parts, outputs.length > 1 ? '}}' : '}'])
  }

  private checkShapes(outputs: readonly Tensor[]): void {
    const isByRows = this.instances !== undefined
    const rows = outputs[0]?.shape[0]
    outputs.forEach(({ name, shape }, i) => {
      if (isByRows && (shape.length === 0 || shape[0] !== rows)) throw this.notRows({ name, shape })
      const first = this.outputs?.[i]?.shape ?? []
      if (first.slice(1).join() === shape.slice(1).join()) return
      throw new ModelError(
        `output "${name}" has rows of different shapes: [${first.slice(1)}] and [${shape.slice(1)}]`,
      )
    })
    const total = this.rows + (rows ?? 0)
    if (isByRows && outputs[0] !== undefined && total > (this.instances ?? 0))
      throw this.notRows(outputs[0])
  }

  private notRows({ name, shape }: Pick<Tensor, 'name' | 'shape'>): BadRequest {
    return new BadRequest(
      `output ${show(name)} has the shape [${shape}], not one row for each of the ${this.instances} instances; send "inputs" to get "outputs"`,
    )
  }

  private *addRows(outputs: readonly Tensor[]): Generator<void, void> {
    this.texts[0] ??= new Text(this.count)
    const [text] = this.texts as [Text]
    const total = outputs[0]?.shape[0] ?? 0
    for (let row = 0; row < total; row++) {
      if (this.rows + row > 0) text.push(',')
      for (let i = 0; i < outputs.length; i++) {
        const output = outputs[i] as Tensor
        if (outputs.length > 1) text.push(`${i === 0 ? '{' : ','}${JSON.stringify(output.name)}:`)
        yield* write(text, output, 1, row)
      }
      if (outputs.length > 1) text.push('}')
      if (text.isFull) yield text.flush()
    }
  }

  private *addColumns(outputs: readonly Tensor[]): Generator<void, void> {
    for (let i = 0; i < outputs.length; i++) {
      this.texts[i] ??= new Text(this.count)
      const text = this.texts[i] as Text
      const output = outputs[i] as Tensor
      if (output.shape.length === 0) yield* write(text, output, 0, 0)
      for (let row = 0; row < (output.shape[0] ?? 0); row++) {
        if (this.rows + row > 0) text.push(',')
        yield* write(text, output, 1, row)
        if (text.isFull) yield text.flush()
      }
    }
  }

  private readonly count = (bytes: number): void => this.size.add(bytes)
}

/** Collects text, and converts it to bytes part by part. */
class Text {
  private readonly parts: Uint8Array[] = []
  private readonly count: (bytes: number) => void
  private text = ''

  /** @param count receives the bytes of each part */
  constructor(count: (bytes: number) => void) {
    this.count = count
  }

  get isFull(): boolean {
    return this.text.length >= TEXT_AT_A_TIME
  }

  push(text: string): void {
    this.text += text
  }

  flush(): void {
    const part = UTF8.encode(this.text)
    this.text = ''
    this.count(part.byteLength)
    this.parts.push(part)
  }

  all(): readonly (string | Uint8Array)[] {
    this.count(Buffer.byteLength(this.text))
    return [...this.parts, this.text]
  }
}

/** Joins the parts to one text, or to pieces of bytes if some are bytes. */
function joined(parts: readonly (string | Uint8Array)[]): EncodedResponse {
  if (parts.every(part => typeof part === 'string')) return { json: parts.join('') }
  return { json: parts.map(part => (typeof part === 'string' ? UTF8.encode(part) : part)) }
}

/**
 * Writes a part of a tensor, nested like its remaining dimensions. `index` selects the part from
 * the first `depth` dimensions, flattened.
 */
function* write(text: Text, tensor: Tensor, depth: number, index: number): Generator<void, void> {
  const { shape } = tensor
  const isLarge = elementCount(shape.slice(depth)) > ELEMENTS_AT_A_TIME
  if (!isLarge) return text.push(nested(tensor, depth, index))
  const length = shape[depth] as number
  text.push('[')
  if (depth === shape.length - 1) {
    for (let from = 0; from < length; from += ELEMENTS_AT_A_TIME) {
      const to = Math.min(length, from + ELEMENTS_AT_A_TIME)
      if (from > 0) text.push(',')
      text.push(elements(tensor, index * length + from, index * length + to).slice(1, -1))
      if (text.isFull) yield text.flush()
    }
  } else {
    for (let i = 0; i < length; i++) {
      if (i > 0) text.push(',')
      yield* write(text, tensor, depth + 1, index * length + i)
      if (text.isFull) yield text.flush()
    }
  }
  text.push(']')
}

function nested(tensor: Tensor, depth: number, index: number): string {
  const { shape } = tensor
  const left = shape.length - depth
  if (left === 0) return elements(tensor, index, index + 1).slice(1, -1)
  const length = shape[depth] as number
  if (left === 1) return elements(tensor, index * length, (index + 1) * length)
  return `[${Array.from({ length }, (_, i) => nested(tensor, depth + 1, index * length + i)).join(',')}]`
}

function elements({ datatype, data }: Tensor, from: number, to: number): string {
  const part = Array.isArray(data)
    ? data.slice(from, to)
    : (data as Float32Array).subarray(from, to)
  return encodeData({ datatype, data: part as TensorData })
}
