CREATE TABLE IF NOT EXISTS ${table} (
  run_id       STRING NOT NULL COMMENT 'run that wrote the row',
  base_run_id  STRING NOT NULL COMMENT 'published run that the edges were compared with (run.base)',
  src          BIGINT NOT NULL COMMENT 'nodes.node_id',
  dst          BIGINT NOT NULL COMMENT 'nodes.node_id',
  change       STRING NOT NULL COMMENT 'new: not in the base; removed: only in the base; weight: in both, with another weight',
  base_weight  DOUBLE          COMMENT 'embedded weight in the base; NULL for a new edge',
  weight       DOUBLE          COMMENT 'embedded weight now; NULL for a removed edge',
  src_subgraph INT NOT NULL    COMMENT 'subgraph of src on the first level, or what it was in the base',
  dst_subgraph INT NOT NULL    COMMENT 'subgraph of dst on the first level, or what it was in the base'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per embedded edge that differs from the base run; none without run.incremental'
