"""What must never be found in the queue.

The format of every room's `invariants.py`: INVARIANTS maps a name to a query that returns the offending rows (the first column an
id); CHECKS maps a name to a function that returns them, for what no query can see. They run after chaos tests and hourly.
"""

INVARIANTS = {
    "jobs.dead_worker_not_swept": """
        SELECT id, kind, subject_id, worker FROM jobs_job WHERE state = 'claimed' AND lease_until < now() - interval '10 minutes'""",
    "jobs.in_work_twice": """
        SELECT min(id), kind, subject_id, count(*) FROM jobs_job WHERE state IN ('queued', 'claimed')
        GROUP BY kind, subject_id HAVING count(*) > 1""",
    "jobs.marked_alone_but_claimed_with_others": """
        SELECT id, kind, batch_size FROM jobs_job WHERE state = 'claimed' AND alone AND batch_size > 1""",
    "jobs.failed_without_reason": "SELECT id, kind FROM jobs_job WHERE state = 'failed' AND error = ''",
    "jobs.ended_without_time": """
        SELECT id, kind, state FROM jobs_job WHERE state IN ('done', 'failed', 'cancelled') AND finished IS NULL""",
    "jobs.done_without_an_attempt": "SELECT id, kind FROM jobs_job WHERE state = 'done' AND attempt = 0",
}
