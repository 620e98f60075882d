"""Validate what 0005 added: this reads the table and lets others write."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("analyses", "0005_novelty")]

    operations = [
        ValidateConstraint(model_name="analysis", name="analysis_neighbours_not_negative"),
        ValidateConstraint(model_name="analysis", name="analysis_ood_in_unit_interval"),
    ]
