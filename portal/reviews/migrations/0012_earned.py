"""What a site tolerates to pass unseen, and how much is read whatever the model says."""

from django.db import migrations, models

from portal.core.going_back import refuse_to_lose


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_study_lead"),
        ("reviews", "0011_adjudicating"),
    ]

    operations = [
        migrations.AddField(
            model_name="reviewrules",
            name="audit_share",
            field=models.FloatField(
                help_text="Of all images so many are read whatever the model says, 0 to 0.2; null: as the installation says.", null=True
            ),
        ),
        migrations.AddField(
            model_name="reviewrules",
            name="confidence",
            field=models.FloatField(help_text="That it is no more, 0.5 to 0.999; null: 0.95.", null=True),
        ),
        migrations.AddField(
            model_name="reviewrules",
            name="missed_share",
            field=models.FloatField(
                help_text="Of the non-regular images so many may pass unseen, 0 to 0.5; null: as the installation says.", null=True
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewrules",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("missed_share__isnull", True), models.Q(("missed_share__gte", 0), ("missed_share__lte", 0.5)), _connector="OR"
                ),
                name="missed_share_up_to_a_half",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewrules",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("confidence__isnull", True), models.Q(("confidence__gte", 0.5), ("confidence__lte", 0.999)), _connector="OR"
                ),
                name="confidence_of_a_half_or_more",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewrules",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("audit_share__isnull", True), models.Q(("audit_share__gte", 0), ("audit_share__lte", 0.2)), _connector="OR"
                ),
                name="audit_share_up_to_a_fifth",
            ),
        ),
        refuse_to_lose(
            "reviews 0012",
            {
                "what rules say of images that may pass unseen": "SELECT count(*) FROM reviews_reviewrules"
                " WHERE COALESCE(missed_share, confidence, audit_share) IS NOT NULL"
            },
        ),
    ]
