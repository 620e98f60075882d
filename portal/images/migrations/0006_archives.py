import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("images", "0005_likeness"),
    ]

    operations = [
        migrations.AlterField(
            model_name="uploadfile",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("expected", "named by the table, not yet here"),
                    ("missing", "named by the table, never sent"),
                    ("not_used", "row of the table, not used"),
                    ("accepted", "accepted"),
                    ("duplicate", "already here"),
                    ("rejected", "rejected"),
                    ("unpacking", "archive, being unpacked"),
                    ("unpacked", "archive, unpacked"),
                ],
                max_length=12,
            ),
        ),
        migrations.CreateModel(
            name="Archive",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ("sha256", models.CharField(max_length=64)),
                ("size", models.BigIntegerField()),
                (
                    "members",
                    models.IntegerField(help_text="How many files it holds, hidden ones left out; known once it was opened.", null=True),
                ),
                ("done", models.IntegerField(default=0, help_text="So many of its members, from the first on, have their outcome.")),
                ("outcomes", models.JSONField(default=dict, help_text="How many members came to which outcome.")),
                ("file", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name="archive", to="images.uploadfile")),
                ("site", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.site")),
                ("upload", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="archives", to="images.upload")),
            ],
        ),
        migrations.AddConstraint(
            model_name="archive",
            constraint=models.UniqueConstraint(fields=["upload", "sha256"], name="archive_once_an_upload"),
        ),
    ]
