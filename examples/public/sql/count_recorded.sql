-- Rows of recorded rollouts, and what they gave.
SELECT
    CAST(sum(CAST(counts ->> 'rows_read' AS BIGINT)) AS BIGINT) AS rows_read,
    CAST(sum(CAST(counts ->> 'filtered' AS BIGINT)) AS BIGINT) AS filtered,
    CAST(sum(CAST(counts ->> 'quarantined' AS BIGINT)) AS BIGINT) AS quarantined,
    CAST(sum(CAST(counts ->> 'samples' AS BIGINT)) AS BIGINT) AS samples
FROM commits
WHERE stage = 'recorded_rollouts' AND live
