# The server with its page, on an image without shell or packages. Build from the root of the checkout:
#   docker build --file deploy/docker/server.Dockerfile --tag REGISTRY/tinyobs-server:0.1.0 .
# For several processors: docker buildx build --platform linux/amd64,linux/arm64 …; each builds on its own kind of machine or
# under emulation, for nothing here is cross-compiled.
# Tags move: where builds must repeat, pin each FROM to a digest of yours.
ARG RUST=1.95
ARG NODE=22

FROM node:${NODE}-bookworm-slim AS page
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY web ./
RUN npm run build

FROM rust:${RUST}-bookworm AS build
WORKDIR /src
COPY . .
COPY --from=page /src/web/dist web/dist
RUN cargo build --release --locked --package server

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="TinyObs server" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /src/target/release/tinyobs /usr/local/bin/tinyobs
# That of the image's user nonroot, also as a number: Kubernetes can check only that.
USER 65532:65532
# The data folder. Nothing else is written but temporary files.
ENV TINYOBS_DATA_DIR=/var/lib/tinyobs
VOLUME /var/lib/tinyobs
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/tinyobs"]
CMD ["serve"]
