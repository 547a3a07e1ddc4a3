CREATE TABLE IF NOT EXISTS ${table} (
  run_id       STRING NOT NULL COMMENT 'run that wrote the row',
  level        INT NOT NULL    COMMENT 'level of the subgraph',
  subgraph_id  INT NOT NULL    COMMENT 'subgraph that was rotated into the frame',
  shared_nodes BIGINT NOT NULL COMMENT 'nodes already placed when it came',
  rank         INT NOT NULL    COMMENT 'directions the shared nodes determine; below dim the rest of the rotation is free',
  fit_error    DOUBLE NOT NULL COMMENT 'relative misfit of the shared nodes after rotation, 0 is perfect; 0 where nothing is shared',
  status       STRING NOT NULL COMMENT 'frame, aligned, degenerate or unaligned'
) USING delta PARTITIONED BY (run_id, level)
COMMENT 'one row per subgraph: how well it fits the frame'
TBLPROPERTIES (
  'graphseam.public' = 'true'
)
