import type { Datatype } from '../protocol/datatypes.ts'
import type { JsonSchema } from './json-schema.ts'

/** The type of a tensor of the model. A variable dimension in `shape` is `number`. */
export interface TensorType {
  readonly datatype: Datatype
  readonly shape: readonly number[]
}

/** The types of a model's tensors, which `onnx-function types` generates from the ONNX file. */
export interface ModelTypes {
  readonly inputs: Readonly<Record<string, TensorType>>
  readonly outputs: Readonly<Record<string, TensorType>>
}

/** The elements of an input, as the author writes them in arrays. */
interface Elements {
  readonly BOOL: boolean
  readonly UINT8: number
  readonly UINT16: number
  readonly UINT32: number
  /** A bigint, or a number that is a safe integer. */
  readonly UINT64: bigint | number
  readonly INT8: number
  readonly INT16: number
  readonly INT32: number
  readonly INT64: bigint | number
  readonly FP16: number
  readonly FP32: number
  readonly FP64: number
  readonly BYTES: string
}

/** The data of a tensor, in row-major order. */
interface Data {
  /** Each element is 0 or 1. */
  readonly BOOL: Uint8Array
  readonly UINT8: Uint8Array
  readonly UINT16: Uint16Array
  readonly UINT32: Uint32Array
  readonly UINT64: BigUint64Array
  readonly INT8: Int8Array
  readonly INT16: Int16Array
  readonly INT32: Int32Array
  readonly INT64: BigInt64Array
  /** Each element is the bit pattern of a number. */
  readonly FP16: Uint16Array
  readonly FP32: Float32Array
  readonly FP64: Float64Array
  readonly BYTES: readonly string[]
}

type DimensionOfTuple = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15 | 16

type Tuple<
  Length extends number,
  Element,
  Found extends readonly Element[] = readonly [],
> = Found['length'] extends Length ? Found : Tuple<Length, Element, readonly [...Found, Element]>

/**
 * Nested arrays, one level per dimension. A fixed dimension up to 16 is a tuple, so that the
 * compiler checks the number of its elements; the server checks the number in all other dimensions.
 */
export type Nested<Element, Shape extends readonly number[]> = number extends Shape['length']
  ? NestedAny<Element>
  : Shape extends readonly [infer Dimension, ...infer Rest extends readonly number[]]
    ? Dimension extends DimensionOfTuple
      ? Tuple<Dimension, Nested<Element, Rest>>
      : readonly Nested<Element, Rest>[]
    : Element

/** Nested arrays of any rank. */
type NestedAny<Element> = Element | readonly NestedAny<Element>[]

/**
 * A tensor that the author creates: nested arrays, from which the server derives the shape, or a
 * shape with flat data. A typed array of the datatype is copied at once if it has at most 1 MiB. A
 * larger typed array is used without a copy, and must not be changed afterwards. The result of an
 * async function is read later, when other calls may have run: calls must not share its arrays.
 */
export type InputTensor<Type extends TensorType> =
  | Nested<Elements[Type['datatype']], Type['shape']>
  | {
      readonly shape: Readonly<Type['shape']>
      readonly data: Data[Type['datatype']] | readonly Elements[Type['datatype']][]
    }

/** A tensor that the model returned. */
export interface OutputTensor<Type extends TensorType, Name = string> {
  readonly name: Name
  readonly datatype: Type['datatype']
  readonly shape: Readonly<Type['shape']>
  readonly data: Data[Type['datatype']]
}

/** Every input of the model. */
export type Inputs<Model extends ModelTypes> = {
  readonly [Name in keyof Model['inputs']]: InputTensor<Model['inputs'][Name]>
}

/** Every output of the model. */
export type Outputs<Model extends ModelTypes> = {
  readonly [Name in keyof Model['outputs']]: OutputTensor<Model['outputs'][Name], Name>
}

/** One input or output of the served model. */
export interface ModelTensor {
  readonly name: string
  readonly datatype: Datatype
  /** −1 is a variable dimension. */
  readonly shape: readonly number[]
}

/** The served model. */
export interface ServedModel {
  readonly name: string
  readonly version?: string | undefined
  /** The class names of model.json. */
  readonly labels?: readonly string[] | undefined
  readonly inputs: readonly ModelTensor[]
  readonly outputs: readonly ModelTensor[]
}

type Write = (message: string, fields?: Readonly<Record<string, unknown>>) => void

/**
 * Writes to the server's log. The log contains only the values that the author passes, never
 * request data.
 */
export interface TransformLog {
  readonly info: Write
  readonly warn: Write
  readonly error: Write
}

/** The attributes of a CloudEvent, including extensions. */
export interface EventAttributes {
  readonly specversion: string
  readonly id: string
  readonly source: string
  readonly type: string
  readonly subject?: string
  readonly time?: string
  readonly datacontenttype?: string
  readonly dataschema?: string
  readonly [extension: string]: string | undefined
}

/** The event that answers an event. */
export interface EventReply {
  /** Default: the request's type, with `.request` replaced by `.response`. */
  type?: string
  /** Further attributes of the reply. The server sets specversion, id and source. */
  readonly attributes: Record<string, string>
}

/** The argument of setup(). */
export interface SetupContext {
  readonly model: ServedModel
  readonly log: TransformLog
}

/** The context of one call: both halves receive the same object. */
export interface Context extends SetupContext {
  /** Aborted at the deadline, and when the caller hangs up. Pass it to fetch(). */
  readonly signal: AbortSignal
  /** Headers of the HTTP request; names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /**
   * Content type of the data: the Content-Type of the HTTP request, or the event's datacontenttype.
   */
  readonly contentType?: string | undefined
  /** The attributes of the event; undefined for other requests. */
  readonly event?: EventAttributes | undefined
  /** The settings of the reply event; undefined for other requests. */
  readonly reply?: EventReply | undefined
  /** An initially empty object in which preprocess can pass values to postprocess. */
  readonly state: Record<string, unknown>
}

/** A response that is not JSON. */
export interface BodyAnswer {
  readonly body: string | Uint8Array
  readonly contentType: string
}

/**
 * The author's code before and after the model. Every part is optional, and both halves may be
 * async.
 */
export interface Transform<Model extends ModelTypes = ModelTypes, Data = unknown> {
  /**
   * Schema of callers' data. The data is checked before preprocess; the schema is shown in OpenAPI
   * and on the page.
   */
  readonly input?: JsonSchema
  /** Schema of the response, which is shown in OpenAPI and on the page. */
  readonly output?: JsonSchema
  /** Called once per thread, before the thread handles calls. If setup throws, startup fails. */
  readonly setup?: (context: SetupContext) => void | Promise<void>
  /** Called once per thread, before the thread ends. */
  readonly close?: () => void | Promise<void>
  /**
   * Creates the model's inputs.
   * @param data parsed JSON, text as a string, or any other data as bytes (Uint8Array)
   */
  readonly preprocess?: (data: Data, context: Context) => Inputs<Model> | Promise<Inputs<Model>>
  /**
   * Creates the response: a JSON value, a {@link BodyAnswer}, or undefined for no reply (HTTP 204).
   * @param outputs the outputs of exactly the rows that preprocess returned
   */
  readonly postprocess?: (outputs: Outputs<Model>, data: Data, context: Context) => unknown
}
