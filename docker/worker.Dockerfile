# The workers, the trainer, the beat and the one-shot migration. Build from the project's root: docker build -f docker/worker.Dockerfile .
FROM python:3.11-slim AS packages
WORKDIR /app
COPY requirements/uv.txt requirements/worker.txt requirements/
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements/uv.txt \
    && /venv/bin/uv pip sync --no-cache --compile-bytecode --python /venv/bin/python --require-hashes requirements/worker.txt

FROM python:3.11-slim
RUN useradd --system --create-home --uid 10001 winnow && install -d -o winnow /data
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 WINNOW_VAR=/data
COPY --from=packages /venv /venv
COPY manage.py ./
COPY portal portal
COPY inference inference
COPY training training
COPY templates templates
USER 10001
VOLUME /data
# Compose says which role; a worker proves life by its leases, not by a port.
HEALTHCHECK NONE
ENTRYPOINT ["python", "manage.py"]
CMD ["work", "io"]
