-- How many prompts of a source of the original pool were rolled out, at most.
SELECT max(n) AS n
FROM (
    SELECT count(*) AS n
    FROM difficulty AS d
    JOIN prompts AS p ON d.prompt_id = p.prompt_id
    WHERE p.pool = 'original'
    GROUP BY d.policy_id, p.source
)
