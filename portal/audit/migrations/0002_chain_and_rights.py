"""The chain never forks; and the application's role keeps the right to insert and to read, nothing else."""

from django.conf import settings
from django.db import migrations, models


def only_insert_and_read(apps: object, schema_editor: object) -> None:
    del apps
    role = settings.DATABASE_APP_ROLE
    cursor = schema_editor.connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("SELECT current_user")
    if not role or cursor.fetchone()[0] == role:
        return
    quoted = schema_editor.quote_name(role)  # type: ignore[attr-defined]
    cursor.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON audit_auditevent, audit_auditseal FROM {quoted}")


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.AddConstraint(
            model_name="auditseal",
            constraint=models.UniqueConstraint(fields=("previous",), name="chain_never_forks"),
        ),
        migrations.RunPython(only_insert_and_read, migrations.RunPython.noop, elidable=False),
    ]
