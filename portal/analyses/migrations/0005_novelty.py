"""How unlike the training images a picture is, and the classifier's own log odds. What was analysed before has neither."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("analyses", "0004_look")]

    operations = [
        migrations.AddField(
            model_name="analysis",
            name="logit",
            field=models.FloatField(
                help_text="The classifier's own log odds (natural) of non-regular, not calibrated; null: not known.", null=True
            ),
        ),
        migrations.AddField(
            model_name="analysis",
            name="neighbours",
            field=models.FloatField(
                help_text="Mean distance of the embedding to its nearest training embeddings, in units of their spread, from 0; null: not known.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="analysis",
            name="ood",
            field=models.FloatField(
                help_text="Share of held-out images that lie nearer to the training images than this one, 0 to 1; null: not known.",
                null=True,
            ),
        ),
        # Every row of before is null: the next migration looks at them without holding up who writes
        AddConstraintNotValid(
            model_name="analysis",
            constraint=models.CheckConstraint(
                condition=models.Q(("neighbours__isnull", True), ("neighbours__gte", 0), _connector="OR"),
                name="analysis_neighbours_not_negative",
            ),
        ),
        AddConstraintNotValid(
            model_name="analysis",
            constraint=models.CheckConstraint(
                condition=models.Q(("ood__isnull", True), models.Q(("ood__gte", 0), ("ood__lte", 1)), _connector="OR"),
                name="analysis_ood_in_unit_interval",
            ),
        ),
    ]
