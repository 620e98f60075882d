from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("images", "0010_tables_by_work")]

    operations = [
        migrations.AddField(
            model_name="patient",
            name="gone",
            field=models.DateTimeField(
                help_text="When the split that made it was undone; it counts while there is no image again.", null=True
            ),
        ),
    ]
