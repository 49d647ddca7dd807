-- Prompts that were rolled out and have no score, by what each of their rollouts lacks.
SELECT
    p.source,
    coalesce(p.verifier, 'none') AS verifier,
    r.status AS why,
    count(DISTINCT r.prompt_id) AS prompts,
    count(*) AS rollouts
FROM rewards AS r
JOIN prompts AS p ON r.prompt_id = p.prompt_id
JOIN difficulty AS d ON r.prompt_id = d.prompt_id AND r.policy_id = d.policy_id
WHERE d.scored = 0
GROUP BY ALL
ORDER BY p.source, why
