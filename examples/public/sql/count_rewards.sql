-- Verdicts and recorded scores of each policy.
SELECT
    policy,
    coalesce(source, 'none') AS "score from",
    status,
    count(*) AS rollouts,
    count(reward) AS "with a score",
    avg(reward) AS mean
FROM rewards
JOIN $policies AS policies USING (policy_id)
GROUP BY policy, source, status
ORDER BY policy, "score from", status
