-- Prompts that contain an item of an evaluation set, and whether any arm takes them.
SELECT
    c.prompt_id,
    p.source,
    c.eval_set,
    c.item,
    split_part(e.source_row, ':', 2) AS item_row,
    c.overlap,
    c.matched,
    t.text,
    bool_or(s.selected) AS selected,
    string_agg(s.arm, ', ' ORDER BY s.arm) FILTER (s.selected) AS arms
FROM contamination AS c
JOIN prompts AS p ON c.prompt_id = p.prompt_id
JOIN prompt_texts AS t ON c.prompt_id = t.prompt_id
JOIN selection AS s ON c.prompt_id = s.prompt_id
LEFT JOIN prompts AS e ON c.item = e.prompt_id
GROUP BY ALL
ORDER BY p.source, c.prompt_id
