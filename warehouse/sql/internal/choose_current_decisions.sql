-- The decisions that count now: of builds that extend one another, the newest row of each key, unless it withdraws.
FROM internal.decisions_plain
WHERE outcome <> 'withdrawn'
UNION ALL
FROM (
    FROM internal.decisions_chained
    QUALIFY seq = max(seq) OVER (PARTITION BY prompt_id, stage, arm, batch, variant, rule)
)
WHERE outcome <> 'withdrawn'
