"""Questions that were open before rules were kept by question: they go on by the rule of their site, as it is now."""

from django.db import migrations

RULES = """
UPDATE reviews_reviewtask AS task SET rules_id = (
    SELECT rules.id FROM reviews_reviewrules AS rules JOIN images_image AS image ON image.id = task.image_id
    WHERE rules.site_id = image.site_id OR rules.site_id IS NULL ORDER BY rules.site_id NULLS LAST, rules.id DESC LIMIT 1
)
WHERE task.rules_id IS NULL AND task.state IN ('open', 'adjudication') AND task.purpose = 'review'
"""


class Migration(migrations.Migration):
    dependencies = [("reviews", "0008_skipped")]
    operations = [migrations.RunSQL(RULES, migrations.RunSQL.noop)]
