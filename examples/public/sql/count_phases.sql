-- Rows of the curriculum by phase and domain.
SELECT phase, domain, count(*) AS "rows"
FROM curriculum AS c
JOIN prompts AS p ON c.prompt_id = p.prompt_id
WHERE arm = $arm
GROUP BY phase, domain
ORDER BY min(min(position)) OVER (PARTITION BY phase), "rows" DESC, domain
