-- Rollouts of each policy.
SELECT
    policy,
    if(bool_or(recorded), 'imported', 'rolled out here') AS origin,
    count(DISTINCT prompt_id) AS prompts,
    count(*) AS samples,
    count(*) FILTER (finish_reason = 'length') AS "cut by the token limit"
FROM rollouts
JOIN $policies AS policies USING (policy_id)
GROUP BY ALL
ORDER BY origin, policy
