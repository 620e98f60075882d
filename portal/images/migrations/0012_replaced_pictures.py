from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("images", "0011_patient_gone")]

    operations = [
        migrations.AddField(
            model_name="textfound",
            name="replaced",
            field=models.JSONField(
                default=list, help_text="Pictures that were blanked and are still to leave the store: sha256, extension."
            ),
        ),
    ]
