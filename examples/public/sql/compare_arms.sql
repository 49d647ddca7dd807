-- What each arm takes of the new pool, the main arm first.
SELECT
    s.arm,
    any_value(s.rule) AS rule,
    count(*) AS taken,
    avg(c.mean) AS mean,
    avg(c.variance) AS variance,
    printf('%.0f%%', 100 * avg(CAST(c.mean = 0 AS INT))) AS "never solved"
FROM candidates AS c
JOIN selection AS s ON c.arm = s.arm AND c.prompt_id = s.prompt_id
WHERE c.selected AND c.pool = 'new'
GROUP BY s.arm
ORDER BY s.arm <> $arm, s.arm
