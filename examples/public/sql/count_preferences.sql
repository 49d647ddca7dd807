-- Preference pairs by origin, and what the votes of the reward models make of their labels.
SELECT
    p.origin,
    count(*) AS pairs,
    count(s.strength_mean) AS "voted on",
    round(100 * avg(CAST(s.strength_mean > 0 AS INTEGER)) FILTER (s.votes > 0), 1) AS "model agrees, %",
    count(*) FILTER (s.treatment = 'flip') AS flipped
FROM preferences AS p
LEFT JOIN preference_strength AS s ON p.pair_id = s.pair_id
GROUP BY p.origin
ORDER BY p.origin
