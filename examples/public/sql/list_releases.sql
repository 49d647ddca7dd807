-- The newest release of each arm, the main arm first.
SELECT arm, release_id AS release, "rows", prompts, heldout AS "held out"
FROM releases
ORDER BY arm <> $arm, arm
