-- How verdicts came out. A status without a score is a failure to decide, and never counts as hard.
SELECT policy_id, verifier, verifier_version, status, count(*) AS verdicts, count(score) AS scored, avg(score) AS mean_score
FROM verdicts
GROUP BY policy_id, verifier, verifier_version, status
ORDER BY policy_id, verifier, verifier_version, status
