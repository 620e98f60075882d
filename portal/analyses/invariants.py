"""What must never be found here. Each query returns the offending rows; the first column is an id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection

from portal import ml
from portal.analyses.beside import MOST, compares, opens
from portal.analyses.models import Assessment
from portal.images.models import BESIDE_OTHERS
from portal.registry.models import ModelVersion

_IN_WORK = """EXISTS (
    SELECT FROM jobs_job j JOIN images_image of_job ON of_job.id = j.subject_id
    WHERE j.kind = 'assess' AND j.state IN ('queued', 'claimed') AND (of_job.exam_id = i.exam_id OR of_job.id = i.id
        OR of_job.id = ANY (s.siblings)))"""

INVARIANTS = {
    "analyses.image_with_two_current_assessments": """
        SELECT image_id, count(*) FROM analyses_assessment WHERE current GROUP BY image_id HAVING count(*) > 1""",
    "analyses.image_analysed_twice_by_one_bundle": """
        SELECT image_id, version_id, count(*) FROM analyses_analysis GROUP BY image_id, version_id HAVING count(*) > 1""",
    "analyses.assessment_of_another_image": """
        SELECT s.id FROM analyses_assessment s JOIN analyses_analysis a ON a.id = s.analysis_id WHERE a.image_id <> s.image_id""",
    "analyses.analysis_without_audit_event": """
        SELECT a.id FROM analyses_analysis a WHERE NOT EXISTS (
            SELECT FROM audit_auditevent e
            WHERE e.subject_type = 'images.Image' AND e.subject_id = a.image_id AND e.action = 'image.analysed')""",
    "analyses.assessment_beside_itself": "SELECT id, image_id FROM analyses_assessment WHERE image_id = ANY (siblings)",
    "analyses.assessment_beside_another_exam": f"""
        SELECT s.id, s.image_id, o.id FROM analyses_assessment s JOIN images_image i ON i.id = s.image_id
        JOIN images_image o ON o.id = ANY (s.siblings)
        WHERE s.current AND o.exam_id IS DISTINCT FROM i.exam_id AND NOT {_IN_WORK}""",  # noqa: S608  # nosec B608 # a constant of this file
}

_BEHIND = f"""
WITH comparing AS (SELECT * FROM unnest(%(versions)s::bigint[], %(devices)s::text[]) AS c (version_id, device)),
heap AS (SELECT exam_id, device FROM images_image WHERE state = ANY (%(states)s) AND exam_id IS NOT NULL
    GROUP BY exam_id, device HAVING count(*) > %(most)s),
due AS (
    SELECT s.id, s.image_id, s.siblings, ARRAY(
        SELECT o.id FROM images_image o JOIN analyses_analysis oa ON oa.image_id = o.id AND oa.version_id = a.version_id
        WHERE o.exam_id = i.exam_id AND o.device = i.device AND o.id <> i.id AND o.state = ANY (%(states)s)
        AND oa.kind = ANY (%(kinds)s) AND a.kind = ANY (%(kinds)s) AND (a.version_id, i.device) IN (SELECT * FROM comparing)
        AND (i.exam_id, i.device) NOT IN (SELECT * FROM heap)
        ORDER BY o.id) AS others
    FROM analyses_assessment s JOIN analyses_analysis a ON a.id = s.analysis_id JOIN images_image i ON i.id = s.image_id
    WHERE s.current AND i.state = ANY (%(states)s) AND a.version_id = ANY (%(opened)s) AND NOT {_IN_WORK}
)
SELECT id, image_id, siblings, others FROM due
WHERE siblings <> others ORDER BY id
"""  # noqa: S608  # nosec B608 # a constant of this file


def behind_its_exam() -> list[tuple[Any, ...]]:
    """Current assessments that did not see exactly what there is to compare with, though no work would judge them anew.

    (id, image, siblings seen, siblings there are.) Which bundle compares which device's images only the bundles say; what one that is
    gone said cannot be said anew.
    """
    judged = Assessment.objects.filter(current=True).exclude(image__exam=None).order_by()
    pairs = list(judged.values_list("analysis__version", "image__device").distinct())
    versions = ModelVersion.objects.in_bulk({version for version, _ in pairs})
    opened = {pk for pk, version in versions.items() if opens(version)}
    comparing = [(version, device) for version, device in pairs if compares(versions[version], device)]
    values: dict[str, Any] = {
        "versions": [version for version, _ in comparing], "devices": [device for _, device in comparing], "opened": list(opened),
        "states": list(BESIDE_OTHERS), "kinds": list(ml.CLASSIFIED_KINDS), "most": MOST,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_BEHIND, values)
        return list(cursor.fetchall())


CHECKS: dict[str, Callable[[], list[tuple[Any, ...]]]] = {"analyses.assessment_behind_its_exam": behind_its_exam}
