-- Where the prompts of an arm end up.
SELECT
    CASE
        WHEN selected THEN 'in the release of arm ' || arm
        WHEN reason = 'eval' THEN 'in the eval pool'
        WHEN reason = 'heldout' THEN 'held out'
        ELSE 'not selected'
    END AS place,
    count(*) AS n
FROM selection
WHERE arm = $arm
GROUP BY ALL
ORDER BY n DESC
