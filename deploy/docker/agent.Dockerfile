# The agent alone: one static program on an empty image. Build from the root of the checkout:
#   docker build --file deploy/docker/agent.Dockerfile --tag REGISTRY/tinyobs-agent:0.1.0 .
# For several processors: docker buildx build --platform linux/amd64,linux/arm64 …; each builds on its own kind of machine or
# under emulation, for nothing here is cross-compiled.
# Tags move: where builds must repeat, pin each FROM to a digest of yours.
ARG RUST=1.95

FROM rust:${RUST}-bookworm AS build
WORKDIR /src
COPY . .
RUN scripts/agent.sh /build

FROM gcr.io/distroless/static-debian12:nonroot
LABEL org.opencontainers.image.title="TinyObs agent" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /build/agent/tinyobs-agent /usr/local/bin/tinyobs-agent
# The chart runs it as root, without capabilities: containerd's folder and socket are root's.
USER 65532:65532
EXPOSE 9810
ENTRYPOINT ["/usr/local/bin/tinyobs-agent"]
