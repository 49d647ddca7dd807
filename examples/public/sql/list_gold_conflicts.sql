-- Prompts that came with two different golds.
SELECT p.prompt_id, p.source, p.pool, p.ground_truth, t.text, bool_or(s.selected) AS selected
FROM prompts AS p
JOIN prompt_texts AS t ON p.prompt_id = t.prompt_id
JOIN selection AS s ON p.prompt_id = s.prompt_id
WHERE p.gold_conflict
GROUP BY ALL
ORDER BY p.prompt_id
