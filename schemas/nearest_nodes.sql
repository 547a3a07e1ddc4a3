CREATE TABLE IF NOT EXISTS ${table} (
  run_id  STRING NOT NULL        COMMENT 'run that wrote the row',
  node_id BIGINT NOT NULL        COMMENT 'nodes.node_id',
  near    ARRAY<BIGINT> NOT NULL COMMENT 'the nodes with the largest cosine to it, neighbours included, the nearest first',
  cosine  ARRAY<FLOAT> NOT NULL  COMMENT 'of the vectors, in the order of near'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per node: what the search for candidates found for predict_similar on the way'
