CREATE TABLE IF NOT EXISTS ${table} (
  run_id         STRING NOT NULL COMMENT 'run that wrote the row',
  kind           STRING NOT NULL COMMENT 'positive: a held-out edge; uniform, hard: one negative per positive, a pair that is no edge of the whole graph; rank_uniform, rank_hard: the 100 negatives that a positive is ranked among',
  query          BIGINT NOT NULL COMMENT 'number of the positive, from 0 in the order of a hash; a negative has that of its positive, and its src',
  src            BIGINT NOT NULL COMMENT 'nodes.node_id',
  dst            BIGINT NOT NULL COMMENT 'nodes.node_id; of a uniform negative any node, of a hard one the end of a positive, so that its degree is that of positives',
  min_degree     BIGINT          COMMENT 'smaller of the two nodes numbers of edges in the embedded graph',
  degree_product DOUBLE          COMMENT 'of the two numbers of edges: the floor any embedding has to beat'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per pair that link prediction is measured on, drawn once from the whole graph'
