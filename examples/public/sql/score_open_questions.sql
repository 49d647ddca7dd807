-- Prompts that a reward model scores: how many, and how their scores lie. 0.5 is the mean of the model's own training data.
SELECT
    p.source,
    count(DISTINCT r.prompt_id) AS prompts,
    count(*) AS rollouts,
    count(r.reward) AS "with a score",
    round(avg(r.reward), 3) AS mean,
    round(quantile_cont(r.reward, 0.1), 3) AS "10%",
    round(quantile_cont(r.reward, 0.9), 3) AS "90%",
    count(*) FILTER (r.status = 'model_error') AS "too long for it",
    count(*) FILTER (r.status = 'truncated') AS cut
FROM rewards AS r
JOIN (SELECT prompt_id, source FROM prompts) AS p ON r.prompt_id = p.prompt_id
WHERE r.source = 'reward_model'
GROUP BY p.source
ORDER BY p.source
