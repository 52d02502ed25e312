# The image of cachesync: docker build -t cachesync .
ARG PYTHON=3.13.14-slim

FROM python:${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY constraints.txt ./
RUN python -m pip install -c constraints.txt hatchling
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY deploy deploy
COPY src src
RUN python -m pip wheel --no-build-isolation --no-deps --wheel-dir wheels . \
 && python -m venv --without-pip /opt/cachesync \
 && python -m pip --python /opt/cachesync/bin/python install --only-binary :all: -c constraints.txt wheels/*.whl

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="cachesync" \
      org.opencontainers.image.description="Keeps a search index equal to a tree of Spack build-cache pages" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0.dev0"
RUN python -m pip uninstall --yes --root-user-action=ignore pip \
 && groupadd --gid 10001 cachesync \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/cachesync --shell /usr/sbin/nologin cachesync \
 && install --directory --mode=0700 --owner=10001 --group=10001 /var/lib/cachesync /keys
COPY --from=build /opt/cachesync /opt/cachesync
# The paths and the port in a container. Who can reach the port depends on how it is published.
ENV PATH=/opt/cachesync/bin:$PATH \
    CACHESYNC_PAGES__ROOT=/pages \
    CACHESYNC_INDEX__URL=embedded:/var/lib/cachesync/index \
    CACHESYNC_HTTP__HOST=0.0.0.0 \
    CACHESYNC_HTTP__PORT=8080
WORKDIR /var/lib/cachesync
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
  CMD ["python", "-c", "import os, sys, http.client as h; at = os.environ; c = h.HTTPConnection('127.0.0.1', int(at['CACHESYNC_HTTP__PORT']), timeout=5); c.request('GET', at.get('CACHESYNC_HTTP__BASE_PATH', '') + '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["cachesync"]
CMD ["run"]
