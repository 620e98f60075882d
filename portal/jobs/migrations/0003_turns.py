"""Sites take turns: each job knows whose it is, and the index of what can be claimed is sorted by site first."""

from django.db import migrations, models

_OF_THE_QUEUE = """
DO $$ BEGIN
    IF to_regclass('images_image') IS NOT NULL THEN
        UPDATE jobs_job SET site_id = images_image.site_id FROM images_image
        WHERE images_image.id = jobs_job.subject_id AND kind IN ('sanitise', 'analyse', 'assess') AND jobs_job.state IN ('queued', 'claimed');
    END IF;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0002_job_errors")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="site_id",
            field=models.BigIntegerField(db_default=0, help_text="Whose work it is, for taking turns; 0 for work of no site."),
        ),
        migrations.RunSQL(_OF_THE_QUEUE, migrations.RunSQL.noop),
        migrations.RemoveIndex(model_name="job", name="job_claimable"),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(condition=models.Q(("state", "queued")), fields=["kind", "site_id", "not_before", "id"], name="job_in_turn"),
        ),
    ]
