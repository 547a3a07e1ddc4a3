CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL COMMENT 'run that wrote the row',
  src         STRING NOT NULL COMMENT 'original id of the node asked for',
  dst         STRING NOT NULL COMMENT 'original id of the predicted neighbour',
  probability DOUBLE NOT NULL COMMENT 'that the pair is an edge the run was not shown, see README.md',
  rank        INT NOT NULL    COMMENT '1 is the likeliest for this src',
  held_out    BOOLEAN NOT NULL COMMENT 'whether the pair is one of the edges held out: a prediction known to be right',
  score       DOUBLE NOT NULL COMMENT 'log-odds that the link model gives, before calibration; it ranks',
  cosine      DOUBLE NOT NULL COMMENT 'of the two vectors',
  num_paths   BIGINT NOT NULL COMMENT 'common neighbours; in a bipartite graph paths of 3 edges; hubs left out',
  adamic_adar DOUBLE NOT NULL COMMENT 'of the same paths: sum of 1 / log(degree) of the nodes between (Adamic and Adar, 2003)',
  resource_allocation DOUBLE NOT NULL COMMENT 'of the same paths: sum of 1 / degree of the nodes between (Zhou, 2009)',
  src_degree  BIGINT NOT NULL COMMENT 'embedded edges of src',
  dst_degree  BIGINT NOT NULL COMMENT 'embedded edges of dst',
  cross_fitted DOUBLE         COMMENT 'probability by the curve of the half of the nodes that src is not in: what reliability measures; NULL in runs of graphseam 0.1.0',
  src_node_id BIGINT NOT NULL COMMENT 'nodes.node_id',
  dst_node_id BIGINT NOT NULL COMMENT 'nodes.node_id'
) USING delta PARTITIONED BY (run_id)
COMMENT 'the likeliest missing edges of each node'
TBLPROPERTIES (
  'delta.constraints.probability_range' = 'probability >= 0 AND probability <= 1',
  'graphseam.public' = 'true',
  'graphseam.sort' = 'src_node_id, rank',
  'graphseam.ids' = 'src, dst',
  'graphseam.export' = 'src, dst, probability, rank, score'
)
