# docs/deploy.md and test/container/README.md contain the reasons and measurements for this image.

# Renovate adds the digest, because a tag can change but a digest cannot.
ARG BASE=docker.io/library/node:24.21.0-bookworm-slim

# This stage runs on the builder's own platform without emulation, because it only generates
# JavaScript.
FROM --platform=$BUILDPLATFORM ${BASE} AS build
WORKDIR /src
COPY .npmrc package.json package-lock.json ./
# No package needs its install script: the base contains Node, and ONNX Runtime's script would
# download CUDA.
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts
COPY . .
RUN node scripts/build.mjs
# The builder sets TARGETARCH to amd64 or arm64. ONNX Runtime's package contains the files of both.
ARG TARGETARCH
RUN node scripts/production-tree.mjs /app "$TARGETARCH"

# Docker would infer the platform, but buildah 1.28 would use the base of the stage above, which may
# have the wrong architecture.
# hadolint ignore=DL3065
FROM --platform=$TARGETPLATFORM ${BASE}
ENV NODE_ENV=production
WORKDIR /app
# Rarely changed files are copied first, so that a release changes only a layer of 4 MB (1 MB
# compressed).
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/models models
COPY --from=build /app/LICENSE /app/package.json ./
COPY --from=build /app/build build
# Kubernetes rejects a user name in pods with runAsNonRoot, so the user is a number. No host assigns
# this number, and the user owns no files in the image.
USER 10001:10001
EXPOSE 8080
# Runs Node without a shell, so that Node receives SIGTERM. For KServe's predictor, pass
# build/predictor.js as the argument. The semi-space size prevents memory from growing with use
# (docs/performance.md).
ENTRYPOINT ["node", "--max-semi-space-size=16"]
CMD ["build/main.js"]

ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="onnx-function" \
      org.opencontainers.image.description="An ONNX model as a Knative function: the Open Inference Protocol over HTTP and CloudEvents." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
