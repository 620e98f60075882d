"""How many answers each question has: counted once, kept by every answer from here on."""

from django.db import migrations

COUNT = """
UPDATE reviews_reviewtask SET answered = counted.n
FROM (SELECT task_id, count(*) AS n FROM reviews_read WHERE role = 'reader' GROUP BY task_id) AS counted
WHERE counted.task_id = reviews_reviewtask.id
"""


class Migration(migrations.Migration):
    dependencies = [("reviews", "0003_reading_room")]
    operations = [migrations.RunSQL(COUNT, migrations.RunSQL.noop)]
