-- How hard each source is for each policy.
SELECT
    d.policy_id,
    p.source,
    p.domain,
    count(*) AS prompts,
    count(*) FILTER (d.scored > 0) AS scored,
    avg(d.mean) AS mean_reward,
    avg(d.pass_rate) AS mean_pass_rate,
    count(*) FILTER (d.pass_rate = 0) AS never_passed,
    count(*) FILTER (d.pass_rate = 1) AS always_passed,
    avg(d.variance) AS mean_variance,
    count(*) FILTER (d.suspect_gold) AS suspect_golds
FROM difficulty AS d
JOIN (SELECT prompt_id, source, domain FROM prompts) AS p ON d.prompt_id = p.prompt_id
GROUP BY d.policy_id, p.source, p.domain
ORDER BY d.policy_id, p.source, p.domain
