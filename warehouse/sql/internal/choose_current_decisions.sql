-- The decisions that count now: of builds that extend one another, the newest row of each key.
FROM internal.decisions_plain
UNION ALL
FROM internal.decisions_chained
QUALIFY seq = max(seq) OVER (PARTITION BY prompt_id, stage, arm, batch, variant, rule)
