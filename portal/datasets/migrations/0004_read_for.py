"""How an image of a frozen data set came to be read. Of older ones it is not known."""

from django.db import migrations, models

from portal.core.going_back import refuse_to_lose


class Migration(migrations.Migration):
    dependencies = [
        ("datasets", "0003_placed_then"),
    ]

    operations = [
        migrations.AddField(
            model_name="snapshotitem",
            name="read_for",
            field=models.CharField(db_default="", default="", help_text="whatever, chosen, nobody; empty: not written down.", max_length=8),
        ),
        refuse_to_lose(
            "datasets 0004",
            {"how images of data sets came to be read": "SELECT count(*) FROM datasets_snapshotitem WHERE read_for <> ''"},
        ),
    ]
