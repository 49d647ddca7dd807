-- The preference pairs as the votes of the reward models leave them: flipped where they are taken for wrong, left out
-- where they are dropped. `target` is the probability that the label is right, where it was smoothed. Pairs that nobody
-- voted on are as they came.
WITH pairs AS (
    SELECT
        p.*,
        s.strength_mean,
        s.votes_for,
        s.votes,
        coalesce(s.treatment, 'keep') AS treatment,
        s.margin,
        row_number() OVER (PARTITION BY p.pair_id ORDER BY p.origin) AS copy
    FROM preferences AS p
    LEFT JOIN preference_strength AS s ON p.pair_id = s.pair_id
)
SELECT
    pair_id,
    prompt_id,
    messages,
    CASE WHEN treatment = 'flip' THEN rejected ELSE chosen END AS chosen,
    CASE WHEN treatment = 'flip' THEN chosen ELSE rejected END AS rejected,
    origin,
    treatment,
    CASE WHEN treatment = 'flip' THEN -strength_mean ELSE strength_mean END AS strength,
    CASE WHEN treatment = 'smooth' THEN 1 / (1 + exp(-strength_mean)) END AS target,
    margin,
    votes_for,
    votes
FROM pairs
WHERE copy = 1 AND treatment <> 'drop'
ORDER BY pair_id
