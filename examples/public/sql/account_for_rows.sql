-- What became of the rows of each source: every row is in `prompts` or in `rejected_prompts`.
WITH pools AS (SELECT DISTINCT source, pool FROM prompts),

fates AS (
    SELECT source, 'prompt' AS outcome FROM prompts
    UNION ALL
    SELECT source, outcome FROM rejected_prompts
)

SELECT
    source,
    pool,
    count(*) AS "rows read",
    count(*) FILTER (outcome = 'prompt') AS prompts,
    count(*) FILTER (outcome = 'duplicate') AS duplicate,
    count(*) FILTER (outcome = 'near_duplicate') AS "near duplicate",
    count(*) FILTER (outcome = 'filtered') AS filtered,
    count(*) FILTER (outcome = 'quarantined') AS quarantined
FROM fates
LEFT JOIN pools USING (source)
GROUP BY source, pool
ORDER BY array_position(['original', 'new', 'eval'], pool), source
