-- What the arm takes of each group that it ranks, and where it stops.
SELECT
    s."group",
    count(*) AS ranked,
    count(*) FILTER (selected) AS taken,
    count(*) FILTER (selected AND reward_max = 0) AS "never solved",
    count(*) FILTER (reason = 'guard_all_zero') AS "passed over by the guard",
    max(score) FILTER (selected) AS "mean of the last one taken",
    max(percentile) FILTER (selected) AS "its percentile"
FROM selection AS s
JOIN difficulty AS d ON s.prompt_id = d.prompt_id AND s.policy_id = d.policy_id
WHERE arm = $arm AND s."group" IS NOT NULL
GROUP BY s."group"
ORDER BY s."group"
