# The pipeline and its champion in one image; no git inside.
#   docker build -t digits .
#   docker run --rm -v digits:/workspace digits run --dataset digits      the pipeline
#   docker run --rm -v digits:/workspace -v "$PWD:/in" digits predict /in/seven.png
FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
COPY bootstrap.lock requirements.lock ./
RUN python -m venv /venv \
    && /venv/bin/pip install --require-hashes -r bootstrap.lock \
    && VIRTUAL_ENV=/venv /venv/bin/uv pip install --no-cache --require-hashes --compile-bytecode -r requirements.lock
COPY pyproject.toml README.md cli.py ./
COPY pipeline pipeline
RUN VIRTUAL_ENV=/venv /venv/bin/uv pip install --no-cache --no-deps --no-build-isolation --compile-bytecode .

FROM python:3.11-slim
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 DVC_NO_ANALYTICS=1 MLFLOW_DISABLE_TELEMETRY=true ORT_DISABLE_TELEMETRY=1 GIT_PYTHON_REFRESH=quiet \
    DVC_SITE_CACHE_DIR=/workspace/.dvc/site MPLCONFIGDIR=/workspace/.cache/matplotlib HOME=/workspace
RUN useradd --uid 1000 --no-create-home --home-dir /workspace digits \
    && mkdir /workspace && chown digits:digits /workspace
USER 1000
WORKDIR /workspace
COPY --chown=digits:digits . .
# There is no git here: DVC keeps its cache and its lock without it.
RUN dvc config --local core.no_scm true
VOLUME /workspace
ENTRYPOINT ["digits"]
CMD ["run"]
