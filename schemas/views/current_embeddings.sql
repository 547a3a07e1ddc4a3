-- one row per node: the embedding of the newest published run
-- 'graphseam.sort' = 'node_id'
-- 'graphseam.ids' = 'id'
-- 'graphseam.export' = 'id, vector'
SELECT id, vector, node_id, run_id
FROM ${embeddings}
WHERE run_id = (SELECT run_id FROM ${runs} ORDER BY published_at DESC, run_id DESC LIMIT 1)
