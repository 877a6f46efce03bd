# The pipeline and its champion in one image; no git inside.
#   docker build -t digits .
#   docker run --rm -v digits:/workspace digits run --dataset digits      the pipeline
#   docker run --rm -v digits:/workspace -v "$PWD:/in" digits predict /in/seven.png
#   docker run --rm -v digits:/workspace -p 127.0.0.1:8000:8000 digits serve --host 0.0.0.0
FROM python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7 AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 VIRTUAL_ENV=/venv
WORKDIR /app
COPY bootstrap.lock requirements.lock ./
RUN python -m venv /venv \
    && /venv/bin/pip install --require-hashes -r bootstrap.lock \
    && /venv/bin/uv pip install --no-cache --require-hashes --compile-bytecode -r requirements.lock
COPY pyproject.toml README.md cli.py cli_batches.py cli_labels.py digits.py dvc.yaml prefect.yaml ./
COPY flows flows
COPY pipeline pipeline
COPY serving serving
RUN /venv/bin/uv pip install --no-cache --no-deps --no-build-isolation --editable . \
    && python -m compileall -q .

FROM python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7
ENV PATH=/venv/bin:$PATH HOME=/workspace \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 DVC_NO_ANALYTICS=1 MLFLOW_DISABLE_TELEMETRY=true ORT_DISABLE_TELEMETRY=1 GIT_PYTHON_REFRESH=quiet \
    DVC_SITE_CACHE_DIR=/workspace/.dvc/site MPLCONFIGDIR=/workspace/.cache/matplotlib
RUN useradd --uid 1000 --no-create-home --home-dir /workspace digits \
    && install -d -o digits -g digits /workspace
COPY --from=build /venv /venv
COPY --from=build /app /app
USER 1000
WORKDIR /workspace
COPY --chown=digits:digits params.yaml .dvcignore ./
COPY --chown=digits:digits .dvc .dvc
COPY --chown=digits:digits data data
# Links, because a volume outlives its image: the next image's code is then what runs on it. There is no git here:
# DVC keeps its cache and its lock without it.
RUN ln -s /app/dvc.yaml /app/prefect.yaml /app/flows /app/pipeline /app/serving . \
    && dvc config --local core.no_scm true
VOLUME /workspace
STOPSIGNAL SIGINT
EXPOSE 8000
ENTRYPOINT ["digits"]
CMD ["run"]
