-- one row a predicted pair of the newest published run; a pair that both its nodes predict stands once
SELECT src, dst, probability, score, rank, run_id
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY least(src_node_id, dst_node_id), greatest(src_node_id, dst_node_id) ORDER BY rank, src_node_id) AS place
  FROM ${link_predictions}
  WHERE run_id = (SELECT run_id FROM ${runs} ORDER BY published_at DESC, run_id DESC LIMIT 1)
)
WHERE place = 1
