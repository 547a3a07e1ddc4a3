-- one row per node: its likeliest label in the newest published run, and how well that label is predicted where it is known
-- 'graphseam.sort' = 'node_id'
-- 'graphseam.ids' = 'id'
-- 'graphseam.export' = 'id, label, probability, label_f1, label_precision, source'
SELECT p.id, p.label, p.probability, q.f1 AS label_f1, q.precision AS label_precision, p.source, p.node_id, p.run_id
FROM ${node_predictions} AS p
LEFT JOIN ${label_quality} AS q ON q.run_id = p.run_id AND q.label = p.label
WHERE p.rank = 1 AND p.run_id = (SELECT run_id FROM ${runs} ORDER BY published_at DESC, run_id DESC LIMIT 1)
