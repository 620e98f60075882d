"""Where in a picture the classifier sees what it says. What was analysed before does not have it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("analyses", "0002_colour")]

    operations = [
        migrations.AddField(
            model_name="analysis",
            name="heat",
            field=models.JSONField(
                default=dict,
                help_text="`region` in pixels of the clean picture, and `rows`: of each place of it the share of non-regular; {}: not known.",
            ),
        ),
    ]
