# The operator's image: the program, the libraries it is linked to, root certificates, and nothing else; no shell, no package
# manager. What is done in the build stage is in image/build. Why FROM scratch: docs/adr/0024-image-from-scratch.md.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=1.2.3 --tag REGISTRY/databricks-run-operator:1.2.3 .

# Debian's own release, and so the C library that ends up in the image, is part of this name.
ARG RUST_IMAGE=docker.io/library/rust:1.95-slim-trixie

FROM ${RUST_IMAGE} AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates make \
 && rm -rf /var/lib/apt/lists/*
RUN cargo install cargo-auditable --version 0.7.7 --locked
WORKDIR /build
# Dependencies are compiled before any source is here: a change of the sources does not compile them again.
COPY Cargo.toml Cargo.lock ./
COPY .cargo/config.toml .cargo/
COPY e2e/Cargo.toml e2e/
COPY image/build image/
RUN image/build dependencies
COPY LICENSE README.md ./
COPY src src
ARG SOURCE_DATE_EPOCH=0
RUN image/build operator && image/build root /image-root

FROM scratch
ARG VERSION=0.0.0-dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="databricks-run-operator" \
      org.opencontainers.image.description="Runs Databricks jobs from Kubernetes objects: one object, one run, started exactly once, told truthfully" \
      org.opencontainers.image.source="https://github.com/dbrun-dev/databricks-run-operator" \
      org.opencontainers.image.documentation="https://github.com/dbrun-dev/databricks-run-operator/blob/main/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image-root/ /
# In numbers: Kubernetes can then see for itself that it is not root (runAsNonRoot).
USER 65532:65532
# Metrics; probes.
EXPOSE 8080 8081
ENTRYPOINT ["/databricks-run-operator"]
CMD ["run"]
