-- Histograms of the mean reward, 20 bins a source; `selected`: taken from the new pool by the arm.
SELECT
    source,
    CAST(least(floor(mean * 20), 19) AS BIGINT) AS bin,
    (selected AND pool = 'new') AS selected,
    count(*) AS prompts
FROM candidates
WHERE arm = $arm AND mean IS NOT NULL
GROUP BY source, bin, (selected AND pool = 'new')
ORDER BY ALL
