# docs/deploy.md and test/container/README.md have the reasons and measurements.

# Renovate adds the digest, which, unlike a tag, cannot change.
ARG BASE=docker.io/library/node:24.21.0-bookworm-slim

# Only generates JavaScript, so it runs on the builder's own platform without emulation.
FROM --platform=$BUILDPLATFORM ${BASE} AS build
WORKDIR /src
COPY .npmrc package.json package-lock.json ./
# No install scripts: the base contains Node, and ONNX Runtime's script would download CUDA.
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts
COPY . .
RUN node scripts/build.mjs
# The builder sets TARGETARCH to amd64 or arm64. ONNX Runtime's package contains both.
ARG TARGETARCH
RUN node scripts/production-tree.mjs /app "$TARGETARCH"

# Docker would infer the platform, but buildah 1.28 would use the base of the stage above, which may
# have the wrong architecture.
# hadolint ignore=DL3065
FROM --platform=$TARGETPLATFORM ${BASE}
ENV NODE_ENV=production
# glibc would keep freed buffers of up to 32 MiB, and storms of large bodies exceeded 512 MiB.
ENV MALLOC_MMAP_THRESHOLD_=131072
WORKDIR /app
# Rarely changed files come first, so that a release changes only a layer of 4 MB (1 MB compressed).
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/models models
COPY --from=build /app/LICENSE /app/package.json ./
COPY --from=build /app/build build
# With runAsNonRoot, Kubernetes requires a numeric user. No host assigns this number, and the user
# owns no files in the image.
USER 10001:10001
EXPOSE 8080
# Without a shell, Node receives SIGTERM. For KServe's predictor, pass build/predictor.js. The
# semi-space size keeps memory from growing with use (docs/performance.md).
ENTRYPOINT ["node", "--max-semi-space-size=16"]
CMD ["build/main.js"]

ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="onnx-function" \
      org.opencontainers.image.description="An ONNX model as a Knative function: the Open Inference Protocol over HTTP and CloudEvents." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
