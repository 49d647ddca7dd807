-- Prompts of the new pool that two arms both take.
WITH taken AS (SELECT arm, prompt_id FROM candidates WHERE selected AND pool = 'new')

SELECT a.arm, b.arm AS other, count(*) AS n
FROM taken AS a
JOIN taken AS b USING (prompt_id)
GROUP BY a.arm, b.arm
