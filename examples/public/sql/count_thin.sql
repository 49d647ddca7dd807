-- Prompts of the new pool that the arm takes, and that a few samples say were never solved.
SELECT count(*) AS n
FROM candidates
WHERE arm = $arm AND pool = 'new' AND selected AND mean = 0 AND scored <= 3
