-- Where prompts go, step by step: how many of each pool and domain, and what became of them.
-- The outcomes of one step exclude one another. Up to `score` every arm is the same, and arm is null. Prompts of the
-- original pool are trained on whether they are scored or not.
WITH standing AS (
    SELECT
        p.prompt_id,
        p.pool,
        p.domain,
        CASE
            WHEN p.pool = 'eval' THEN 'eval'
            WHEN p.split = 'heldout' THEN 'heldout'
            WHEN c.prompt_id IS NOT NULL THEN 'contaminated'
            ELSE 'candidate'
        END AS outcome
    FROM prompts AS p
    LEFT JOIN (SELECT DISTINCT prompt_id FROM contamination) AS c ON p.prompt_id = c.prompt_id
)

SELECT 1 AS step, 'read' AS stage, 'rows read' AS outcome, NULL AS arm, NULL AS pool, NULL AS domain,
    CAST(sum(CAST(counts ->> 'rows_read' AS BIGINT)) AS BIGINT) AS rows
FROM commits
WHERE stage = 'prompts' AND live
HAVING sum(CAST(counts ->> 'rows_read' AS BIGINT)) IS NOT NULL
UNION ALL
SELECT 2, 'ingest', 'prompt', NULL, pool, domain, count(*)
FROM prompts
GROUP BY pool, domain
UNION ALL
SELECT 2, 'ingest', outcome, NULL, NULL, NULL, count(*)
FROM rejected_prompts
GROUP BY outcome
UNION ALL
SELECT 3, 'split', outcome, NULL, pool, domain, count(*)
FROM standing
GROUP BY outcome, pool, domain
UNION ALL
SELECT 4, 'score', outcome, NULL, pool, domain, count(*)
FROM (
    SELECT
        s.pool,
        s.domain,
        CASE
            WHEN d.prompt_id IS NOT NULL THEN 'scored'
            WHEN s.pool = 'original' THEN 'original, not scored'
            ELSE 'unscored'
        END AS outcome
    FROM standing AS s
    LEFT JOIN (SELECT DISTINCT prompt_id FROM difficulty WHERE scored > 0) AS d ON s.prompt_id = d.prompt_id
    WHERE s.outcome = 'candidate'
)
GROUP BY outcome, pool, domain
UNION ALL
SELECT 5, 'select', if(selected, 'selected: ', 'left out: ') || reason AS outcome, s.arm, pool, domain, count(*)
FROM selection AS s
LEFT JOIN prompts AS p ON s.prompt_id = p.prompt_id
GROUP BY if(selected, 'selected: ', 'left out: ') || reason, s.arm, pool, domain
UNION ALL
SELECT 6, 'order', phase, c.arm, pool, domain, count(*)
FROM curriculum AS c
LEFT JOIN prompts AS p ON c.prompt_id = p.prompt_id
GROUP BY phase, c.arm, pool, domain
UNION ALL
SELECT 7, 'release', 'train', arm, NULL, NULL, CAST(sum("rows") AS BIGINT)
FROM releases
GROUP BY arm
UNION ALL
SELECT 7, 'release', 'heldout', arm, NULL, NULL, CAST(sum(heldout) AS BIGINT)
FROM releases
GROUP BY arm
