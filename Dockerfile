# The server as an image. Builds with BuildKit and with the classic builder alike.
#
#   docker build -t memchunk .                    the server
#   docker build -t memchunk-test --target test . the tests, which docker-compose.yml runs

# --- a wheel, and a place of its own with it and the very files that requirements.lock names ---
FROM python:3.13-slim AS build
WORKDIR /source
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/memchunk \
 && python -m pip --python /opt/memchunk/bin/python install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY memchunk memchunk
COPY memchunk_api memchunk_api
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && python -m pip --python /opt/memchunk/bin/python install --no-cache-dir --no-deps /wheels/*.whl \
 && python -m pip --python /opt/memchunk/bin/python check

# --- the tests beside it, with a memcached for those that hurt theirs ---
FROM python:3.13-slim AS test
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends curl memcached \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home memchunk
COPY --from=build /wheels /wheels
COPY --from=build /opt/memchunk /opt/memchunk
RUN python -m pip --python /opt/memchunk/bin/python install --no-cache-dir pip "$(echo /wheels/*.whl)[http,dev]"
# the tests write beside themselves
WORKDIR /home/memchunk
COPY . .
ENV PATH=/opt/memchunk/bin:$PATH
USER memchunk
CMD ["python", "-m", "pytest"]

# --- the server ---
FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home memchunk
COPY --from=build /opt/memchunk /opt/memchunk
# /dev/shm is writable also where the root is not; gunicorn's workers show there that they live.
# Huge pages make fresh memory for a file cheaper: see docs/performance.md.
ENV PATH=/opt/memchunk/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TMPDIR=/dev/shm \
    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \
    MEMCHUNK_HOST=0.0.0.0
USER memchunk
EXPOSE 8000 4444
# By http.client, for a proxy in the environment is not meant for this.
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('MEMCHUNK_PORT') or 8000), timeout=9); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
CMD ["memchunk", "serve"]
