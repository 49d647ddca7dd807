-- Near copies of a prompt of another source.
SELECT r.source, p.source AS kept, count(*) AS n
FROM rejected_prompts AS r
JOIN prompts AS p ON r.matched_prompt_id = p.prompt_id
WHERE r.source <> p.source AND r.outcome = 'near_duplicate'
GROUP BY ALL
ORDER BY n DESC, r.source
