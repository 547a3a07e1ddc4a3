CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL COMMENT 'run that wrote the row',
  level       INT NOT NULL    COMMENT '1 is the whole graph, each next level the border the one before left',
  subgraph_id INT NOT NULL    COMMENT 'unique within the run',
  node_id     BIGINT NOT NULL COMMENT 'nodes.node_id'
) USING delta PARTITIONED BY (run_id, level)
COMMENT 'one row per node of a level: the subgraph it was put in'
