"""What must never be found here. Each query returns the offending rows; the first column is an id."""

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
}
