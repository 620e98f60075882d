import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("images", "0003_files_by_name"),
    ]

    operations = [
        migrations.CreateModel(
            name="Arrival",
            fields=[
                ("created", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, help_text="Its address, and its name on the disk.", primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=255)),
                (
                    "mark",
                    models.CharField(blank=True, help_text="Of the sender's file, so that a changed one is not continued.", max_length=80),
                ),
                ("size", models.BigIntegerField()),
                ("offset", models.BigIntegerField(default=0, help_text="Bytes that are on the disk.")),
                ("sha256", models.CharField(blank=True, help_text="Known once the last byte is here.", max_length=64)),
                (
                    "moved",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text="When bytes last came."),
                ),
                (
                    "actor",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL),
                ),
                (
                    "file",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name="sent", to="images.uploadfile"),
                ),
                (
                    "upload",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="arrivals", to="images.upload"),
                ),
            ],
            options={
                "indexes": [models.Index(condition=models.Q(("file", None)), fields=["moved"], name="arrival_unfinished")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("offset__gte", 0), ("offset__lte", models.F("size"))), name="arrival_offset_within_size"
                    )
                ],
            },
        ),
    ]
