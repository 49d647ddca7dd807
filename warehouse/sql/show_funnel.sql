-- Where prompts go, step by step: how many of each pool and domain, and what became of them.
-- Rows of one step exclude one another. Steps up to `score` are the same for every arm (arm is null there).
SELECT 1 AS step, 'read' AS stage, 'rows_read' AS outcome, NULL AS arm, NULL AS pool, NULL AS domain,
    sum(CAST(counts ->> 'rows_read' AS BIGINT)) AS prompts
FROM commits
WHERE stage = 'prompts' AND live
HAVING sum(CAST(counts ->> 'rows_read' AS BIGINT)) IS NOT NULL
UNION ALL
SELECT 2, 'ingest', outcome, NULL, NULL, NULL, count(*)
FROM rejected_prompts
GROUP BY outcome
UNION ALL
SELECT 2, 'ingest', 'prompt', NULL, pool, domain, count(*)
FROM prompts
GROUP BY pool, domain
UNION ALL
SELECT
    3,
    'split',
    CASE
        WHEN pool = 'eval' THEN 'eval'
        WHEN split = 'heldout' THEN 'heldout'
        WHEN c.prompt_id IS NOT NULL THEN 'contaminated'
        ELSE 'candidate'
    END AS outcome,
    NULL,
    pool,
    domain,
    count(*)
FROM (SELECT prompt_id, pool, split, domain FROM prompts) AS p
LEFT JOIN (SELECT DISTINCT prompt_id FROM contamination) AS c ON p.prompt_id = c.prompt_id
GROUP BY outcome, pool, domain
UNION ALL
SELECT 4, 'score', if(s.prompt_id IS NULL, 'unscored', 'scored') AS outcome, NULL, pool, domain, count(*)
FROM (SELECT prompt_id, pool, domain FROM prompts) AS p
LEFT JOIN (SELECT DISTINCT prompt_id FROM difficulty WHERE scored > 0) AS s ON p.prompt_id = s.prompt_id
GROUP BY outcome, pool, domain
UNION ALL
SELECT 5, 'selection', if(selected, 'selected: ', 'left out: ') || reason AS outcome, s.arm, pool, domain, count(*)
FROM (SELECT arm, prompt_id, selected, reason FROM selection) AS s
LEFT JOIN (SELECT prompt_id, pool, domain FROM prompts) AS p ON s.prompt_id = p.prompt_id
GROUP BY outcome, s.arm, pool, domain
UNION ALL
SELECT 6, 'curriculum', phase, c.arm, pool, domain, count(*)
FROM (SELECT arm, prompt_id, phase FROM curriculum) AS c
LEFT JOIN (SELECT prompt_id, pool, domain FROM prompts) AS p ON c.prompt_id = p.prompt_id
GROUP BY phase, c.arm, pool, domain
