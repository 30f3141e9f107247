# syntax=docker/dockerfile:1
# Both services, one image each: docker build --target identity . ; docker build --target crm .

ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
COPY . .
# Neither a protoc nor a database is asked for: see proto/build.rs.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package identity-service --package crm-service \
    && mkdir /programs \
    && cp target/release/identity-service target/release/crm-service /programs/

# What the programs need of a system: the C library, and libgcc. Certificates are compiled in.
FROM debian:bookworm-slim AS system
USER 65532:65532

FROM system AS identity
COPY --from=build /programs/identity-service /usr/local/bin/
ENV IDENTITY_LISTEN=0.0.0.0:50051 IDENTITY_ADMIN_LISTEN=0.0.0.0:50061
EXPOSE 50051 50061
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/50061 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r -u 3 _ status _ && [ \"$status\" = 200 ]"]
ENTRYPOINT ["identity-service"]
CMD ["serve"]

FROM system AS crm
COPY --from=build /programs/crm-service /usr/local/bin/
ENV CRM_LISTEN=0.0.0.0:50052 CRM_ADMIN_LISTEN=0.0.0.0:50062
EXPOSE 50052 50062
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/50062 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r -u 3 _ status _ && [ \"$status\" = 200 ]"]
ENTRYPOINT ["crm-service"]
CMD ["serve"]
