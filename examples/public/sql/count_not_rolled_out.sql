-- Prompts without any rollout.
SELECT p.pool, p.split, count(*) AS n
FROM prompts AS p
ANTI JOIN rollouts AS r ON p.prompt_id = r.prompt_id
GROUP BY p.pool, p.split
ORDER BY n DESC, p.pool, p.split
