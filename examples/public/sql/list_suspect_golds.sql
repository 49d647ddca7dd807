-- Prompts whose answers speak against their gold, with the answer that most rollouts gave.
WITH counted AS (
    SELECT prompt_id, policy_id, extracted, count(*) AS votes
    FROM verdicts
    WHERE role = 'scored' AND extracted IS NOT NULL
    GROUP BY ALL
)

SELECT
    d.prompt_id,
    p.source,
    policy,
    d.scored,
    p.ground_truth,
    arg_max(v.extracted, v.votes) AS majority,
    max(v.votes) AS votes,
    s.selected,
    s.reason
FROM difficulty AS d
JOIN prompts AS p ON d.prompt_id = p.prompt_id
JOIN $policies AS policies ON d.policy_id = policies.policy_id
JOIN counted AS v ON d.prompt_id = v.prompt_id AND d.policy_id = v.policy_id
JOIN selection AS s ON d.prompt_id = s.prompt_id
WHERE d.suspect_gold AND s.arm = $arm
GROUP BY ALL
ORDER BY policy, d.prompt_id
