-- Phases of the curriculum that ask for more than there is.
SELECT DISTINCT detail
FROM decisions
WHERE stage = 'curriculum' AND arm = $arm AND outcome = 'flag'
ORDER BY detail
