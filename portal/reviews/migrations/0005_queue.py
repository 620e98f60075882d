import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.expressions
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_upload_tokens"),
        ("images", "0009_metadata"),
        ("reviews", "0004_answered"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="reviewtask",
            name="task_queue",
        ),
        migrations.AddField(
            model_name="reviewtask",
            name="readers",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=list, editable=False, size=None),
        ),
        migrations.AddField(
            model_name="reviewtask",
            name="site",
            field=models.ForeignKey(
                db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.site"
            ),
        ),
        migrations.AddField(
            model_name="reviewtask",
            name="turn",
            field=models.GeneratedField(
                db_persist=True,
                expression=django.db.models.expressions.CombinedExpression(
                    models.Func(models.F("created"), template="EXTRACT(epoch FROM %(expressions)s AT TIME ZONE 'UTC')::double precision"),
                    "-",
                    django.db.models.expressions.CombinedExpression(models.F("priority"), "*", models.Value(1209600.0)),
                ),
                output_field=models.FloatField(),
            ),
        ),
        migrations.RunSQL(
            """
            SET CONSTRAINTS ALL IMMEDIATE;
            UPDATE reviews_reviewtask AS task SET
                site_id = (SELECT site_id FROM images_image WHERE id = task.image_id),
                readers = ARRAY(SELECT reader_id FROM reviews_read WHERE task_id = task.id AND current AND role = 'reader' ORDER BY reader_id);
            SET CONSTRAINTS ALL DEFERRED;
            """,
            migrations.RunSQL.noop,
        ),
        migrations.AlterField(
            model_name="lease",
            name="reader",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="leases", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AlterField(
            model_name="reviewtask",
            name="priority",
            field=models.FloatField(default=0, help_text="Higher is read sooner: how much is in doubt, 0..1."),
        ),
        migrations.AddIndex(
            model_name="reviewtask",
            index=models.Index(
                condition=models.Q(("answered", 0), ("purpose", "review"), ("state", "open")),
                fields=["site", "turn", "id"],
                name="task_fresh",
            ),
        ),
        migrations.AddIndex(
            model_name="reviewtask",
            index=models.Index(
                condition=models.Q(
                    ("answered__gt", 0), ("answered__lt", models.F("reads_needed")), ("purpose", "review"), ("state", "open")
                ),
                fields=["readers", "turn", "id"],
                name="task_begun",
            ),
        ),
        migrations.AddIndex(
            model_name="reviewtask",
            index=models.Index(condition=models.Q(("state", "adjudication")), fields=["turn", "id"], name="task_adjudication"),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="read",
            trigger=pgtrigger.compiler.Trigger(
                name="readers_of_task",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (NEW.\"role\" = 'reader')",
                    func="UPDATE reviews_reviewtask SET readers = ARRAY(\n                    SELECT reader_id FROM reviews_read WHERE task_id = NEW.task_id AND current AND role = 'reader' ORDER BY reader_id\n                ) WHERE id = NEW.task_id; RETURN NULL;",
                    hash="ef58c8e261b9c3f5940ca8c4c81aee353418ac02",
                    operation='INSERT OR UPDATE OF "current"',
                    pgid="pgtrigger_readers_of_task_816c8",
                    table="reviews_read",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="reviewtask",
            trigger=pgtrigger.compiler.Trigger(
                name="site_of_image",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="NEW.site_id = (SELECT site_id FROM images_image WHERE id = NEW.image_id); NEW.readers = '{}'; RETURN NEW;",
                    hash="1923303a3f91fa10c8b039ba3d5cf958bef321a8",
                    operation="INSERT",
                    pgid="pgtrigger_site_of_image_248ef",
                    table="reviews_reviewtask",
                    when="BEFORE",
                ),
            ),
        ),
    ]
