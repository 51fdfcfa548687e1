# The sidecar's image. `production` (the default, last) asks AWS and holds the gate; `emulator` is for tests; `saas` is
# the service that meters SaaS products in the seller's account.
#
#   docker build -t entitlement-sidecar .
#   docker build --target emulator -t entitlement-sidecar-emulator .
#   docker build --target saas -t entitlement-sidecar-saas .
#
# A private index, a proxy's certificate: --secret id=pip,src=pip.conf (read by pip alone, in no layer).
# The base needs Python 3.11 or newer with venv; both stages stand on the same one, so that bytecode fits.
# By digest: a tag moves. `docker buildx imagetools inspect python:3.13-slim-trixie` shows the newest.
ARG BASE_IMAGE=docker.io/library/python:3.13.15-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285

# What runs, in one virtual environment without pip: the locked dependencies, our wheel, nothing compiled yet.
FROM ${BASE_IMAGE} AS build
WORKDIR /build
COPY requirements.lock requirements-build.lock ./
# No wheel for this platform is an error: nothing is ever built from a source archive here.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf,required=false \
    python3 -m venv /build/tools && python3 -m venv --without-pip /opt/entitlement-sidecar \
    && /build/tools/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: --no-deps \
        --require-hashes -r requirements-build.lock \
    && /build/tools/bin/pip --python /opt/entitlement-sidecar/bin/python install --no-cache-dir --no-compile \
        --disable-pip-version-check --only-binary :all: --no-deps --require-hashes -r requirements.lock
COPY image/prune.py image/precompile.py image/
COPY pyproject.toml README.md LICENSE ./
COPY sidecar sidecar
RUN /build/tools/bin/pip wheel --no-cache-dir --disable-pip-version-check --no-index --no-deps --no-build-isolation \
        -w /build/dist . \
    && /build/tools/bin/pip --python /opt/entitlement-sidecar/bin/python install --no-cache-dir --no-compile \
        --disable-pip-version-check --no-index --no-deps /build/dist/*.whl \
    && python3 image/prune.py unread /opt/entitlement-sidecar

# Bytecode alone: the sources would be a fifth of what every node fetches.
FROM build AS build-production
RUN python3 image/prune.py emulator /opt/entitlement-sidecar \
    && python3 image/precompile.py --replace /opt/entitlement-sidecar

FROM build AS build-emulator
RUN python3 image/precompile.py /opt/entitlement-sidecar

# With its database drivers. What is there already has the versions of this lock file too.
FROM build AS build-saas
COPY requirements-saas.lock ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf,required=false \
    /build/tools/bin/pip --python /opt/entitlement-sidecar/bin/python install --no-cache-dir --no-compile \
        --disable-pip-version-check --only-binary :all: --no-deps --require-hashes -r requirements-saas.lock \
    && python3 image/prune.py emulator /opt/entitlement-sidecar && python3 image/precompile.py /opt/entitlement-sidecar

# What all targets stand on: the base, without its installers, with bytecode for the whole standard library.
FROM ${BASE_IMAGE} AS runtime
ARG BASE_IMAGE
RUN --mount=type=bind,source=image,target=/mnt \
    python3 -B /mnt/prune.py base / && python3 -B /mnt/precompile.py --stdlib \
    && install -d -o 65532 -g 65532 -m 0700 /var/lib/entitlement-sidecar
COPY --chmod=0755 image/entitlement-sidecar /usr/local/bin/entitlement-sidecar
# Without it glibc keeps what a burst of large requests took. No region is set here: AWS wants the real one, and
# ECS leaves its own variables out where an image names any.
ENV MALLOC_TRIM_THRESHOLD_=131072
USER 65532:65532
WORKDIR /
STOPSIGNAL SIGTERM
ENTRYPOINT ["entitlement-sidecar"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"

# The local AWS Marketplace and the demo. Never deploy it beside a product: it grants whatever it is told to.
FROM runtime AS emulator
LABEL org.opencontainers.image.title="entitlement-sidecar-emulator" \
      org.opencontainers.image.description="Test image: an emulator of AWS Marketplace metering, and the demo." \
      io.entitlement-sidecar.purpose="test"
COPY --from=build-emulator /opt/entitlement-sidecar /opt/entitlement-sidecar
EXPOSE 8486
CMD ["emulator", "--host", "0.0.0.0"]

# Deployed in the seller's account, never beside a customer's copy.
FROM runtime AS saas
LABEL org.opencontainers.image.title="entitlement-sidecar-saas" \
      org.opencontainers.image.description="Meters a SaaS product of AWS Marketplace: resolves customers, keeps their usage and reports it by the hour." \
      io.entitlement-sidecar.purpose="saas"
COPY --from=build-saas /opt/entitlement-sidecar /opt/entitlement-sidecar
VOLUME ["/var/lib/entitlement-sidecar"]
EXPOSE 8484 8485
CMD ["saas"]

FROM runtime AS production
LABEL org.opencontainers.image.title="entitlement-sidecar" \
      org.opencontainers.image.description="Asks AWS Marketplace whether a paid container may run, proves the answer, and gates the product on it." \
      io.entitlement-sidecar.purpose="production"
COPY --from=build-production /opt/entitlement-sidecar /opt/entitlement-sidecar
# The one writable place. ECS mounts an empty volume as root's own, unless the image declares it: then it takes
# owner and mode from the directory made above. Kubernetes mounts its emptyDir over it either way.
VOLUME ["/var/lib/entitlement-sidecar"]
EXPOSE 8484
CMD ["run"]
