CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL COMMENT 'run that wrote the row',
  level       INT NOT NULL    COMMENT 'level that captured the edge',
  subgraph_id INT NOT NULL    COMMENT 'subgraph that holds both ends',
  src         BIGINT NOT NULL COMMENT 'nodes.node_id',
  dst         BIGINT NOT NULL COMMENT 'nodes.node_id',
  weight      DOUBLE NOT NULL COMMENT 'as in edges'
) USING delta PARTITIONED BY (run_id, level)
COMMENT 'one row per edge captured by a subgraph; what no level captured is in none'
