"""Django's backend for Postgres, that does not ask before every request whether Postgres is there."""
