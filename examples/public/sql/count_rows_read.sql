-- Rows that the prompts stage says it read.
SELECT CAST(sum(CAST(counts ->> 'rows_read' AS BIGINT)) AS BIGINT) AS n
FROM commits
WHERE stage = 'prompts' AND live
