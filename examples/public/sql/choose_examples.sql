-- One prompt for each reason of the new pool: the lowest id (for the arm's own rule, of those that were ever solved).
SELECT
    c.reason,
    c.prompt_id,
    c.source,
    t.text,
    c.samples,
    c.scored,
    c.mean,
    c.pass_rate_low,
    c.pass_rate_high,
    c.percentile,
    d.detail
FROM candidates AS c
JOIN prompt_texts AS t ON c.prompt_id = t.prompt_id
JOIN decisions AS d ON c.prompt_id = d.prompt_id AND c.arm = d.arm AND d.stage = 'selection'
WHERE c.arm = $arm AND c.pool = 'new' AND (NOT c.selected OR c.mean > 0)
QUALIFY row_number() OVER (PARTITION BY c.reason ORDER BY c.prompt_id) = 1
ORDER BY c.reason
