"""Who has held a question to settle it has seen what others said of its image. Of earlier leases the audit trail tells it, and the word of
the adjudicator itself."""

from django.db import migrations, models

from portal.core.going_back import refuse_to_lose

FILL = """
UPDATE reviews_lease AS lease SET adjudicating = true
WHERE lease.id IN (
    SELECT (details ->> 'lease')::bigint FROM audit_auditevent
    WHERE action = 'lease' AND subject_type = 'reviews.ReviewTask' AND details ->> 'role' = 'adjudicator'
) OR EXISTS (
    SELECT FROM reviews_read AS read WHERE read.task_id = lease.task_id AND read.reader_id = lease.reader_id AND read.role = 'adjudicator'
)
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_chain_and_rights"), ("reviews", "0010_alike")]
    operations = [
        migrations.AddField(
            model_name="lease",
            name="adjudicating",
            field=models.BooleanField(db_default=False, default=False, help_text="Held to settle: what others said was shown with it."),
        ),
        migrations.RemoveIndex(model_name="lease", name="lease_revealed"),
        migrations.AddIndex(
            model_name="lease",
            index=models.Index(
                condition=models.Q(("revealed__isnull", False), ("adjudicating", True), _connector="OR"),
                fields=["reader", "task"],
                name="lease_knowing",
            ),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        refuse_to_lose(
            "reviews 0011", {"who has seen what others said of an image": "SELECT count(*) FROM reviews_lease WHERE adjudicating"}
        ),
    ]
