CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL COMMENT 'run that wrote the row',
  src         STRING NOT NULL COMMENT 'original id of the node asked for',
  dst         STRING NOT NULL COMMENT 'original id of the node like it, joined to it or not',
  cosine      DOUBLE NOT NULL COMMENT 'of the two vectors',
  rank        INT NOT NULL    COMMENT '1 is the most similar for this src',
  src_node_id BIGINT NOT NULL COMMENT 'nodes.node_id',
  dst_node_id BIGINT NOT NULL COMMENT 'nodes.node_id'
) USING delta PARTITIONED BY (run_id)
COMMENT 'the most similar nodes of each node that has an edge'
TBLPROPERTIES (
  'graphseam.public' = 'true',
  'graphseam.sort' = 'src_node_id, rank',
  'graphseam.ids' = 'src, dst',
  'graphseam.export' = 'src, dst, cosine, rank'
)
