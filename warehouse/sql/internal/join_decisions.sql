-- One row a decision that was committed and is still kept, with the commit that made it visible.
-- $ROWS selects the stored rows. The id repeats wherever the same build makes the same decision.
SELECT
    md5(concat_ws('|', r.build_id, r.stage, r.arm, r.prompt_id, r.rule)) AS decision_id,
    r.stage,
    r.arm,
    r.batch,
    b.variant,
    r.prompt_id,
    r.rule,
    r.outcome,
    r.value,
    r.threshold,
    r.detail,
    r.policy_hash,
    b.code_version,
    b.seq,
    b.run_id,
    b.committed_at
FROM ($ROWS) AS r
JOIN internal.decision_builds AS b ON r.build_id = b.build_id
