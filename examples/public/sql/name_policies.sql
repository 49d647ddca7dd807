-- Every policy with rollouts, by the name that the settings give it.
SELECT DISTINCT variant AS policy_id, inputs ->> 'policy' AS policy
FROM commits
WHERE stage = 'rollouts' AND live
