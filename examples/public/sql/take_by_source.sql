-- What the arm takes of each source that it ranks.
SELECT
    source,
    domain,
    count(*) AS ranked,
    count(*) FILTER (selected) AS taken,
    printf('%.0f%%', 100 * avg(CAST(selected AS INT))) AS share,
    avg(mean) AS "mean of all",
    avg(mean) FILTER (selected) AS "mean of those taken",
    avg(variance) AS "variance of all",
    avg(variance) FILTER (selected) AS "variance of those taken"
FROM candidates
WHERE arm = $arm AND score IS NOT NULL
GROUP BY source, domain
ORDER BY avg(CAST(selected AS INT)) DESC, source
