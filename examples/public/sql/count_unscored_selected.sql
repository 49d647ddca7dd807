-- Prompts of the new pool that an arm takes though nothing was scored. There must be none.
SELECT count(*) AS n
FROM candidates
WHERE pool = 'new' AND selected AND reason <> 'override' AND coalesce(scored, 0) = 0
