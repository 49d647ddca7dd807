-- Rows that did not become prompts, and why.
SELECT batch, source, outcome, reason_code, count(*) AS rows, min(source_row) AS example
FROM rejected_prompts
GROUP BY batch, source, outcome, reason_code
ORDER BY batch, source, outcome, reason_code
