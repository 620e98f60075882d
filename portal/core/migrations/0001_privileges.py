"""Runs before every other migration: what the owner creates from now on, the application's role may use, and not own."""

from django.conf import settings
from django.db import migrations


def grant(apps: object, schema_editor: object) -> None:
    role = settings.DATABASE_APP_ROLE
    cursor = schema_editor.connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("SELECT current_user")
    if not role or cursor.fetchone()[0] == role:
        return
    quoted = schema_editor.quote_name(role)  # type: ignore[attr-defined]
    cursor.execute(f"GRANT USAGE ON SCHEMA public TO {quoted}")
    cursor.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {quoted}")
    cursor.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {quoted}")


class Migration(migrations.Migration):
    run_before = [("contenttypes", "0001_initial")]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
