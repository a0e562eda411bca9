# A service of one run, on a CPU: docs/deploying.md
FROM python:3.11-slim AS build

# Where PyTorch's builds for the CPU are: the others are several GB larger. The selector on pytorch.org shows the address.
ARG TORCH_INDEX=""
ENV PATH=/opt/bertrec/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src
COPY constraints.txt ./
RUN test -n "$TORCH_INDEX" || { echo "give --build-arg TORCH_INDEX=<PyTorch's index for cpu>, see docs/deploying.md" >&2; exit 1; } \
    && python -m venv /opt/bertrec \
    && pip install --no-cache-dir --constraint constraints.txt --extra-index-url "$TORCH_INDEX" torch \
    && python -c "import torch; assert torch.version.cuda is None, 'TORCH_INDEX has no build for the CPU'"
COPY pyproject.toml README.md LICENSE ./
COPY bertrec ./bertrec
# The history, which has the version, is no part of the image.
ARG VERSION=0.0.0
RUN SETUPTOOLS_SCM_PRETEND_VERSION_FOR_BERTREC="$VERSION" pip install --no-cache-dir --constraint constraints.txt '.[cpu,serve]'

FROM python:3.11-slim

RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin bertrec
COPY --from=build /opt/bertrec /opt/bertrec
# Caches lie where any user of a read-only container may write.
ENV PATH=/opt/bertrec/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    BERTREC_CACHE=/tmp/bertrec \
    HF_HOME=/tmp/huggingface

USER 10001
WORKDIR /srv
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# The run is mounted at /srv/run; the key is in the variable BERTREC_API_KEY, which is given when the container starts.
ENTRYPOINT ["bertrec"]
CMD ["serve", "/srv/run", "--host", "0.0.0.0", "--port", "8000"]
