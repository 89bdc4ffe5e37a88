# The reasons, with figures: docs/deploy.md and test/container/README.md.

# Renovate adds the digest: a tag can move, a digest cannot.
ARG BASE=docker.io/library/node:24.21.0-bookworm-slim

# On the builder's own platform, whatever the image's platform: this stage only makes JavaScript, so
# it needs no emulation.
FROM --platform=$BUILDPLATFORM ${BASE} AS build
WORKDIR /src
COPY .npmrc package.json package-lock.json ./
# No package's install script is needed: the base has Node, and ONNX Runtime's script would download
# CUDA.
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts
COPY . .
RUN node scripts/build.mjs
# amd64 or arm64, set by the builder; ONNX Runtime's package contains the files of both.
ARG TARGETARCH
RUN node scripts/production-tree.mjs /app "$TARGETARCH"

# Docker infers the platform; buildah 1.28 would take the base of the stage above, of the wrong
# architecture.
# hadolint ignore=DL3065
FROM --platform=$TARGETPLATFORM ${BASE}
ENV NODE_ENV=production
WORKDIR /app
# Rarely changed files come first: a release of the function is a layer of 4 MB, 1 MB compressed.
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/models models
COPY --from=build /app/LICENSE /app/package.json ./
COPY --from=build /app/build build
# A number: pods with runAsNonRoot refuse a name. No host assigns it, and it owns no file in the
# image.
USER 10001:10001
EXPOSE 8080
# No shell in between, so that TERM reaches Node. For KServe's predictor, pass build/predictor.js as
# the argument. The size keeps memory from growing with use (docs/performance.md).
ENTRYPOINT ["node", "--max-semi-space-size=16"]
CMD ["build/main.js"]

ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="onnx-function" \
      org.opencontainers.image.description="An ONNX model as a Knative function: the Open Inference Protocol over HTTP and CloudEvents." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
