/*
 * What Triton's clients may ask for and this server does not do, with the reason that they are told:
 * over HTTP 404, over gRPC UNIMPLEMENTED.
 */

interface NotServed {
  /** Of Triton's HTTP protocol. */
  readonly paths: RegExp
  /** Of inference.GRPCInferenceService. */
  readonly methods: RegExp
  readonly why: string
}

const NOT_SERVED: readonly NotServed[] = [
  {
    paths: /^\/v2\/repository\/models\/[^/]+\/(?:load|unload)\/?$/,
    methods: /^RepositoryModel(?:Load|Unload)$/,
    why: 'this server has one model, which is loaded when it starts; a new model is a new revision',
  },
  {
    paths: /^\/v2\/(?:system|cuda)sharedmemory\//,
    methods: /^(?:System|Cuda)SharedMemory/,
    why: 'this server does not share memory with its callers; send tensors in the message',
  },
  {
    paths: /^\/v2\/(?:models\/[^/]+\/)?trace\/setting\/?$/,
    methods: /^TraceSetting$/,
    why: 'traces are configured when the server starts (OTEL_...)',
  },
  {
    paths: /^\/v2\/logging\/?$/,
    methods: /^LogSettings$/,
    why: 'the log is configured when the server starts (LOG_LEVEL)',
  },
]

/** @returns undefined for a path that is none of Triton's */
export const whyNoPath = (path: string): string | undefined =>
  NOT_SERVED.find(({ paths }) => paths.test(path))?.why

/** @returns undefined for a method that is none of Triton's */
export const whyNoMethod = (method: string): string | undefined =>
  NOT_SERVED.find(({ methods }) => methods.test(method))?.why
