"""Pictures that a reader skipped, and whom the model's opinion was shown."""

from django.db import migrations, models

from portal.core.going_back import refuse_to_lose


class Migration(migrations.Migration):
    dependencies = [("reviews", "0007_reliability")]
    operations = [
        migrations.AddField(
            model_name="lease",
            name="skipped",
            field=models.CharField(
                blank=True, db_default="", help_text="Why it was given back unread, where that was said.", max_length=30
            ),
        ),
        migrations.AddField(
            model_name="lease",
            name="revealed",
            field=models.DateTimeField(help_text="When the model's opinion was shown to its reader, after the own answer.", null=True),
        ),
        migrations.AddIndex(
            model_name="lease",
            index=models.Index(condition=models.Q(("skipped", ""), _negated=True), fields=["reader", "task"], name="lease_skipped"),
        ),
        migrations.AddIndex(
            model_name="lease",
            index=models.Index(condition=models.Q(("revealed__isnull", False)), fields=["reader", "task"], name="lease_revealed"),
        ),
        refuse_to_lose(
            "reviews 0008",
            {
                "who skipped a picture, or knows the model's opinion of it": "SELECT count(*) FROM reviews_lease WHERE skipped <> '' OR revealed IS NOT NULL"
            },
        ),
    ]
