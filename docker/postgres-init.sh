#!/bin/sh
# Runs once, on an empty data folder: the roles and the extension that the embedded start makes too (portal/embedded/servers.py).
set -eu
psql -v ON_ERROR_STOP=1 -v owner="$WINNOW_OWNER_PASSWORD" -v app="$WINNOW_APP_PASSWORD" -U "$POSTGRES_USER" -d template1 <<'SQL'
CREATE EXTENSION IF NOT EXISTS vector;
CREATE ROLE winnow_owner LOGIN PASSWORD :'owner';
CREATE ROLE winnow_app LOGIN PASSWORD :'app';
CREATE DATABASE winnow OWNER winnow_owner;
SQL
