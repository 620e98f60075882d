"""What must never be found of questions and answers (format: `portal.jobs.invariants`)."""

INVARIANTS = {
    "reviews.answers_counted_wrong": """
        SELECT t.id, t.answered, count(r.id) FROM reviews_reviewtask t
        LEFT JOIN reviews_read r ON r.task_id = t.id AND r.current AND r.role = 'reader'
        GROUP BY t.id HAVING t.answered <> count(r.id)""",
    # an undone answer may make room again, and an amended one ask for more: fewer than the answers is never right
    "reviews.more_at_work_than_answers_missing": """
        SELECT t.id, t.reads_needed, t.answered, count(*) FROM reviews_reviewtask t
        JOIN reviews_lease l ON l.task_id = t.id AND l.ended IS NULL AND l.until > now()
        WHERE t.state = 'open' GROUP BY t.id HAVING count(*) > t.reads_needed - t.answered""",
    "reviews.closed_short": """
        SELECT t.id, t.answered, t.reads_needed FROM reviews_reviewtask t
        WHERE t.state = 'closed' AND t.purpose = 'review' AND t.answered < t.reads_needed AND NOT EXISTS (
            SELECT FROM reviews_read r WHERE r.task_id = t.id AND r.current AND r.role = 'adjudicator')""",
    "reviews.measure_moved_a_label": """
        SELECT l.id FROM labels_label l JOIN reviews_reviewtask t ON t.id = (l.basis ->> 'task')::bigint
        WHERE t.purpose <> 'review'""",
}
