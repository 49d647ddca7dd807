-- MBPP tasks that are in both pools under different words, by MBPP's own number.
SELECT count(*) AS n
FROM prompts AS a
JOIN prompts AS b ON a."key" = b."key"
WHERE a.source = 'mbpp-gpt4' AND b.source = 'mbpp-train'
