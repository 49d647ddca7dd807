-- How many of the scored samples of each policy and domain the token limit cut. A cut sample has no score: it is never
-- wrong. The limit is policy.max_tokens; of recorded rollouts nobody knows it, and the longest cut sample stands for it.
SELECT
    r.policy_id,
    p.domain,
    coalesce(max(c.max_tokens), max(r.response_tokens) FILTER (r.finish_reason = 'length')) AS token_limit,
    count(*) AS samples,
    count(*) FILTER (r.finish_reason = 'length') AS truncated,
    count(*) FILTER (r.finish_reason = 'length') / count(*) AS share
FROM rollouts AS r
JOIN (SELECT prompt_id, domain FROM prompts) AS p ON r.prompt_id = p.prompt_id
LEFT JOIN (
    SELECT batch, variant, CAST(inputs ->> 'max_tokens' AS BIGINT) AS max_tokens
    FROM commits
    WHERE stage = 'rollouts' AND live
) AS c ON r.batch = c.batch AND r.policy_id = c.variant
WHERE r.role = 'scored'
GROUP BY r.policy_id, p.domain
ORDER BY share DESC, r.policy_id, p.domain
