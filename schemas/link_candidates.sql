CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL  COMMENT 'run that wrote the row',
  src         BIGINT NOT NULL  COMMENT 'nodes.node_id of the node asked for',
  dst         BIGINT NOT NULL  COMMENT 'nodes.node_id of the candidate',
  learning    BOOLEAN NOT NULL COMMENT 'whether the row is for the model to learn from: neighbours are then candidates too',
  known       BOOLEAN NOT NULL COMMENT 'whether the two are joined by an embedded edge',
  cosine      FLOAT NOT NULL   COMMENT 'of the two vectors',
  num_paths   BIGINT NOT NULL  COMMENT 'see link_predictions',
  adamic_adar FLOAT NOT NULL   COMMENT 'see link_predictions',
  resource_allocation FLOAT NOT NULL COMMENT 'see link_predictions',
  src_degree  BIGINT NOT NULL  COMMENT 'embedded edges of src',
  dst_degree  BIGINT NOT NULL  COMMENT 'embedded edges of dst'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per candidate, in runs of graphseam 0.1; since then candidate_lists has a row per node'
