/*
 * Requests of Triton clients that this server does not support. The response, 404 (HTTP) or
 * UNIMPLEMENTED (gRPC), has the reason.
 */

interface NotServed {
  readonly paths: RegExp
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

/** Returns why a path of Triton is not supported; undefined for other paths. */
export const whyNoPath = (path: string): string | undefined =>
  NOT_SERVED.find(({ paths }) => paths.test(path))?.why

/** Returns why a method of Triton is not supported; undefined for other methods. */
export const whyNoMethod = (method: string): string | undefined =>
  NOT_SERVED.find(({ methods }) => methods.test(method))?.why
