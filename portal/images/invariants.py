"""What must never be found of images and of what their sites hold (format: `portal.jobs.invariants`)."""

INVARIANTS = {
    "holdings.counted_wrong": """
        SELECT site.id, held.files, counted.files, held.bytes, counted.bytes FROM accounts_site AS site
        LEFT JOIN holdings_siteholding AS held ON held.site_id = site.id
        LEFT JOIN (
            SELECT site_id, count(*) AS files, sum(size) AS bytes FROM images_image WHERE state <> 'erased' GROUP BY site_id
        ) AS counted ON counted.site_id = site.id
        WHERE held.site_id IS NOT NULL AND
            (held.files <> COALESCE(counted.files, 0) OR held.bytes <> COALESCE(counted.bytes, 0))""",
    "blobs.rotten_or_missing_at_the_last_check": """
        SELECT id, counts FROM holdings_storecheck
        WHERE id = (SELECT max(id) FROM holdings_storecheck WHERE state = 'done')
        AND (counts ? 'rotten' OR counts ? 'missing')""",
    "lost.replaced_picture_without_drop": """
        SELECT x.image_id FROM images_textfound x WHERE x.replaced <> '[]' AND NOT EXISTS (
            SELECT FROM jobs_job j WHERE j.kind = 'drop' AND j.subject_id = x.image_id AND j.state IN ('queued', 'claimed', 'failed'))""",
    "erasure.something_left": """
        SELECT id FROM images_image WHERE state = 'erased'
        AND (exam_id IS NOT NULL OR original_name <> '' OR clean_sha256 <> '' OR device <> '' OR captured IS NOT NULL)""",
}
