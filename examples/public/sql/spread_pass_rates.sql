-- How the mean rewards of each source are spread, hardest source first.
SELECT
    p.source,
    policy,
    count(*) AS prompts,
    if(min(samples) = max(samples), '', min(samples) || ' to ') || max(samples) AS samples,
    avg(mean) AS mean,
    quantile_cont(mean, 0.10) AS "10%",
    quantile_cont(mean, 0.25) AS "25%",
    quantile_cont(mean, 0.50) AS median,
    quantile_cont(mean, 0.75) AS "75%",
    quantile_cont(mean, 0.90) AS "90%",
    printf('%.0f%%', 100 * avg(CAST(mean = 0 AS INT))) AS never,
    printf('%.0f%%', 100 * avg(CAST(mean = 1 AS INT))) AS always,
    avg(variance) AS variance,
    avg(pass_rate_high - pass_rate_low) AS "interval"
FROM difficulty AS d
JOIN prompts AS p ON d.prompt_id = p.prompt_id
JOIN $policies AS policies ON d.policy_id = policies.policy_id
WHERE scored > 0
GROUP BY p.source, policy
ORDER BY avg(mean), p.source, policy
