-- one row per predicted pair of the newest published run, edges held out left aside; a pair that both nodes predict stands once; the likeliest first
-- 'graphseam.ids' = 'src, dst'
SELECT src, dst, probability, score, cosine, num_paths, rank, run_id
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY least(src_node_id, dst_node_id), greatest(src_node_id, dst_node_id) ORDER BY rank, src_node_id) AS place
  FROM ${link_predictions}
  WHERE NOT held_out
    AND run_id = (SELECT run_id FROM ${runs} ORDER BY published_at DESC, run_id DESC LIMIT 1)
)
WHERE place = 1
ORDER BY probability DESC, score DESC, src, dst
