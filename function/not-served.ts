/*
 * Triton client requests that this server does not support. The response contains the reason.
 * Its status is 404 over HTTP, and UNIMPLEMENTED over gRPC.
 */

interface NotServed {
  /** Matches paths of Triton's HTTP protocol. */
  readonly paths: RegExp
  /** Matches methods of inference.GRPCInferenceService. */
  readonly methods: RegExp
  readonly why: string
}

const NOT_SERVED: readonly NotServed[] = [
  {
    paths: /^\/v2\/repository\/models\/[^/]+\/(?:load|unload)\/?$/,
    methods: /^RepositoryModel(?:Load|Unload)$/,
    why: 'this server serves one model, which it loads at startup; to serve another model, deploy a new revision',
  },
  {
    paths: /^\/v2\/(?:system|cuda)sharedmemory\//,
    methods: /^(?:System|Cuda)SharedMemory/,
    why: 'this server does not share memory with clients; send tensors in the message',
  },
  {
    paths: /^\/v2\/(?:models\/[^/]+\/)?trace\/setting\/?$/,
    methods: /^TraceSetting$/,
    why: 'traces are configured at startup (OTEL_...)',
  },
  {
    paths: /^\/v2\/logging\/?$/,
    methods: /^LogSettings$/,
    why: 'the log is configured at startup (LOG_LEVEL)',
  },
]

/**
 * Returns the reason why a path of Triton's protocol is not supported.
 * @returns undefined for any other path
 */
export const whyNoPath = (path: string): string | undefined =>
  NOT_SERVED.find(({ paths }) => paths.test(path))?.why

/**
 * Returns the reason why a method of Triton's service is not supported.
 * @returns undefined for any other method
 */
export const whyNoMethod = (method: string): string | undefined =>
  NOT_SERVED.find(({ methods }) => methods.test(method))?.why
