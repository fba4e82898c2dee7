# syntax=docker/dockerfile:1
# One image with every binary; the command says which one runs.

FROM rust:1.95-slim-bookworm AS build
# gcc, make and zlib for librdkafka and SQLite; perl for what they generate.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev make perl zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches stay on the builder: a later build compiles what has changed.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bins \
    && mkdir /out \
    && cp target/release/tidings target/release/tidings-edge \
        target/release/tidings-sequencer target/release/tidings-history \
        target/release/tidings-search target/release/tidings-api \
        target/release/tidings-cache /out/

FROM debian:bookworm-slim
# curl asks /readyz in health checks.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home tidings
COPY --from=build /out/ /usr/local/bin/
USER 10001
ENV TIDINGS_LISTEN=0.0.0.0:7700 TIDINGS_LOG_FORMAT=json
EXPOSE 7700
STOPSIGNAL SIGTERM
CMD ["tidings-edge"]
