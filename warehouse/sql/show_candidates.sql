-- One row a prompt and arm: what was measured, and what the selection made of it.
SELECT
    s.arm,
    s.prompt_id,
    p.source,
    p.pool,
    p.split,
    p.domain,
    p.verifier,
    s.policy_id,
    d.samples,
    d.scored,
    d.mean,
    d.variance,
    d.pass_rate,
    d.pass_rate_low,
    d.pass_rate_high,
    d.learnability,
    d.suspect_gold,
    s.score,
    s.percentile,
    s.selected,
    s.reason
FROM selection AS s
LEFT JOIN prompts AS p ON s.prompt_id = p.prompt_id
LEFT JOIN difficulty AS d ON s.prompt_id = d.prompt_id AND s.policy_id = d.policy_id
