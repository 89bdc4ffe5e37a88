import type { Caller } from '../answer.ts'
import type { ResponseLimits } from '../protocol/encode.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Call, Reply } from '../transform/call.ts'
import { type Host, TransformCodec } from '../transform/codec.ts'
import { RunningCall } from '../transform/running.ts'
import { openTransform, type ThreadTransform } from '../transform/thread.ts'
import { type CallLimits, Calls } from './calls.ts'
import type { LoadedModel } from './loaded-model.ts'
import type { ModelIdentity } from './pipeline.ts'
import { servedModel } from './served-model.ts'
import type { Transformer } from './transformer.ts'

export interface InlineOptions {
  readonly file: string
  readonly identity: ModelIdentity
  readonly loaded: LoadedModel
  readonly limits: CallLimits & ResponseLimits
  readonly metrics: Pick<Metrics, 'transformTook'>
  readonly log: Log
}

/** Runs a transform on the main thread, where an endless loop blocks the process permanently. */
export class InlineTransformer implements Transformer {
  readonly #loaded: LoadedModel
  readonly #calls: Calls
  readonly #host: Host
  readonly #transform: ThreadTransform

  /** @throws {Error} if the transform cannot be used */
  static async open(options: InlineOptions): Promise<InlineTransformer> {
    const { file, identity, loaded, log } = options
    const model = servedModel(identity, loaded.signature)
    return new InlineTransformer(options, await openTransform(file, model, log))
  }

  private constructor(options: InlineOptions, transform: ThreadTransform) {
    const { loaded, limits, metrics, log } = options
    this.#loaded = loaded
    this.#calls = new Calls(limits)
    this.#transform = transform
    this.#host = {
      loaded: transform,
      model: transform.model,
      limits,
      log,
      run: (_, work) => work(),
      took: metrics.transformTook,
    }
  }

  get described(): Transformer['described'] {
    return this.#transform.described
  }

  get count(): number {
    return this.#calls.count
  }

  call(call: Call, caller: Caller): Promise<Reply> {
    return this.#calls.run(call, caller, () => {
      const running = new RunningCall()
      const codec = new TransformCodec(call, caller, running, this.#host)
      return {
        reply: this.#loaded.infer(codec, caller),
        end: error => {
          running.end(error)
          return true
        },
      }
    })
  }

  /** Not needed: the model is on this thread. */
  decided(): void {}

  close(): Promise<void> {
    return this.#transform.close()
  }
}
