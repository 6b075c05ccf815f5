# The whole platform in one container: docs/deployment.md.
#
#   docker build -t virtufin .
#   docker run --rm -p 5001:5001 -p 5002:5002 virtufin
ARG BASE=debian:12-slim

FROM ${BASE} AS build
ENV DEBIAN_FRONTEND=noninteractive
COPY tools/packages.txt /source/tools/
RUN apt-get update -q && \
    sed -n '/^# To build/,/^# To test/p' /source/tools/packages.txt | grep -v '^#' | \
    xargs apt-get install -q -y --no-install-recommends
COPY . /source
WORKDIR /source
ARG COMMIT=unknown
ARG CCACHE_DIR=/var/cache/ccache
# What was compiled before is kept between builds, not in the image. The result lies in /image as it
# will in the image, beside the packages of the libraries that it links: found by Debian's own tool,
# so that no list of them is kept by hand.
RUN --mount=type=cache,target=/var/cache/ccache \
    cmake --preset release -D VIRTUFIN_COMMIT_NAME=${COMMIT} && \
    cmake --build --preset release --target virtufin imbalance && \
    mkdir -p /image/opt/virtufin/workers debian && \
    cp LICENSE /image/opt/virtufin/ && \
    strip -o /image/opt/virtufin/virtufin build/release/virtufin && \
    strip --strip-unneeded -o /image/opt/virtufin/workers/libimbalance.so build/release/workers/libimbalance.so && \
    rm -rf build && \
    touch debian/control && \
    dpkg-shlibdeps -O -e/image/opt/virtufin/virtufin -e/image/opt/virtufin/workers/libimbalance.so \
      > /image/opt/virtufin/packages && \
    sed -i 's/^shlibs:Depends=//' /image/opt/virtufin/packages

FROM ${BASE}
COPY --from=build /image /
RUN apt-get update -q && \
    DEBIAN_FRONTEND=noninteractive apt-get satisfy -q -y --no-install-recommends \
      "ca-certificates, $(cat /opt/virtufin/packages)" && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log /opt/virtufin/packages && \
    groupadd --gid 10001 virtufin && \
    useradd --uid 10001 --gid 10001 --home-dir /var/lib/virtufin --no-create-home --shell /usr/sbin/nologin virtufin && \
    install -d -o virtufin -g virtufin -m 0750 /var/lib/virtufin && \
    ln -s /opt/virtufin/virtufin /usr/local/bin/virtufin && \
    virtufin version
COPY config/container.toml /etc/virtufin/virtufin.toml
# By number: Kubernetes cannot tell whether a name is root.
USER 10001:10001
WORKDIR /var/lib/virtufin
VOLUME /var/lib/virtufin
EXPOSE 5001 5002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["virtufin", "health", "--config", "/etc/virtufin/virtufin.toml"]
ENTRYPOINT ["virtufin"]
CMD ["run", "--config", "/etc/virtufin/virtufin.toml"]
