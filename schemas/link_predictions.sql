CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL COMMENT 'run that wrote the row',
  src         STRING NOT NULL COMMENT 'original id of the node asked for',
  dst         STRING NOT NULL COMMENT 'original id of the predicted neighbour',
  probability DOUBLE NOT NULL COMMENT 'that the pair is an edge, see README.md',
  rank        INT NOT NULL    COMMENT '1 is the likeliest for this src',
  score       DOUBLE NOT NULL COMMENT 'cosine of the two vectors',
  held_out    BOOLEAN NOT NULL COMMENT 'the pair is one of the edges held out',
  src_node_id BIGINT NOT NULL COMMENT 'nodes.node_id',
  dst_node_id BIGINT NOT NULL COMMENT 'nodes.node_id'
) USING delta PARTITIONED BY (run_id)
COMMENT 'the likeliest missing edges of each node'
TBLPROPERTIES (
  'delta.constraints.probability_range' = 'probability >= 0 AND probability <= 1'
)
