# The web process: no torch. Build from the project's root: docker build -f docker/web.Dockerfile .
FROM node:24-slim AS scripts
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund

FROM python:3.11-slim AS packages
WORKDIR /app
ENV PIP_NO_CACHE_DIR=1
COPY requirements/uv.txt requirements/web.txt requirements/
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements/uv.txt \
    && /venv/bin/uv pip sync --no-cache --compile-bytecode --python /venv/bin/python --require-hashes requirements/web.txt

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
COPY docker/healthcheck.py docker/healthcheck.py
COPY --from=scripts /app/node_modules node_modules
# Pages' scripts and styles belong to the image, not to the data.
ENV WINNOW_STATIC=/app/static
RUN WINNOW_DEVELOPMENT=1 python manage.py collectstatic --noinput -v0
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
  CMD ["python", "docker/healthcheck.py"]
CMD ["gunicorn", "portal.wsgi", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", "--threads", "16", "--timeout", "120", "--no-control-socket"]
