-- A prompt that was rolled out and whose verifier is not there.
SELECT p.prompt_id, p.source, p.pool, p.verifier, t.text, count(*) AS samples, s.selected, s.reason
FROM rewards AS r
JOIN prompts AS p ON r.prompt_id = p.prompt_id
JOIN prompt_texts AS t ON r.prompt_id = t.prompt_id
JOIN selection AS s ON r.prompt_id = s.prompt_id
WHERE r.status = 'no_verifier' AND s.arm = $arm
GROUP BY ALL
ORDER BY p.prompt_id
LIMIT 1
