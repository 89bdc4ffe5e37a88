/*
 * Requests of Triton's clients that this server does not support, with the reason in the answer:
 * 404 over HTTP, UNIMPLEMENTED over gRPC.
 */

interface NotServed {
  /** Paths of Triton's HTTP protocol. */
  readonly paths: RegExp
  /** Methods of inference.GRPCInferenceService. */
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

/** @returns undefined if the path is not one of Triton's */
export const whyNoPath = (path: string): string | undefined =>
  NOT_SERVED.find(({ paths }) => paths.test(path))?.why

/** @returns undefined if the method is not one of Triton's */
export const whyNoMethod = (method: string): string | undefined =>
  NOT_SERVED.find(({ methods }) => methods.test(method))?.why
