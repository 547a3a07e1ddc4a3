-- one row a node: its likeliest label in the newest published run
SELECT id, label, probability, source, node_id, run_id
FROM ${node_predictions}
WHERE rank = 1 AND run_id = (SELECT run_id FROM ${runs} ORDER BY published_at DESC, run_id DESC LIMIT 1)
