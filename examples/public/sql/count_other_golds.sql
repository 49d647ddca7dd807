-- Near copies that stayed because their golds differ.
SELECT p.source, count(DISTINCT d.prompt_id) AS n
FROM decisions AS d
JOIN prompts AS p ON d.prompt_id = p.prompt_id
WHERE d.rule = 'near_duplicate_other_gold'
GROUP BY p.source
ORDER BY n DESC, p.source
