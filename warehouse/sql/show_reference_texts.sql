-- What each prompt's rollouts are compared with. The table's own name is a word of SQL and needs quotes: "references".
SELECT *
FROM "references"
