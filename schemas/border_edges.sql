CREATE TABLE IF NOT EXISTS ${table} (
  run_id STRING NOT NULL COMMENT 'run that wrote the row',
  level  INT NOT NULL    COMMENT 'level that cut the edge; the next level partitions these',
  src    BIGINT NOT NULL COMMENT 'nodes.node_id',
  dst    BIGINT NOT NULL COMMENT 'nodes.node_id',
  weight DOUBLE NOT NULL COMMENT 'as in edges',
  src_subgraph INT NOT NULL COMMENT 'subgraph of src at this level',
  dst_subgraph INT NOT NULL COMMENT 'subgraph of dst at this level'
) USING delta PARTITIONED BY (run_id, level)
COMMENT 'one row per edge cut at a level: its ends lie in different subgraphs; they induce the border subgraph'
