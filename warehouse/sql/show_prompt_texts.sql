-- Prompts as plain text: the last user message, with what else one searches by.
SELECT
    prompt_id,
    batch,
    source,
    pool,
    split,
    domain,
    coalesce(raw_text, list_filter(messages, lambda m: m.role = 'user')[-1].content) AS text
FROM prompts
