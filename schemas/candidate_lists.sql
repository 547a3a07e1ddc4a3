CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL           COMMENT 'run that wrote the row',
  src         BIGINT NOT NULL           COMMENT 'nodes.node_id of the node asked for',
  learning    BOOLEAN NOT NULL          COMMENT 'whether the row is for the model to learn from: neighbours are then candidates too',
  src_degree  BIGINT NOT NULL           COMMENT 'embedded edges of src',
  dst         ARRAY<BIGINT> NOT NULL    COMMENT 'nodes.node_id of the candidates; the lists below are in this order',
  known       ARRAY<BOOLEAN> NOT NULL   COMMENT 'whether src and the candidate are joined by an embedded edge',
  cosine      ARRAY<FLOAT> NOT NULL     COMMENT 'of the two vectors',
  num_paths   ARRAY<BIGINT> NOT NULL    COMMENT 'see link_predictions',
  adamic_adar ARRAY<FLOAT> NOT NULL     COMMENT 'see link_predictions',
  resource_allocation ARRAY<FLOAT> NOT NULL COMMENT 'see link_predictions',
  dst_degree  ARRAY<BIGINT> NOT NULL    COMMENT 'embedded edges of the candidates'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per node: the pairs that link prediction looked at, with what the model knows of them'
