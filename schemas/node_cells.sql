CREATE TABLE IF NOT EXISTS ${table} (
  run_id  STRING NOT NULL COMMENT 'run that wrote the row',
  node_id BIGINT NOT NULL COMMENT 'nodes.node_id',
  cell    INT NOT NULL    COMMENT 'search_cells.cell: the nearest to its vector',
  margin  FLOAT NOT NULL  COMMENT 'radians that the next cell is farther, at least: by half of it the vector can turn and stay nearest to this one'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per node that predict_links searched for in one task: an incremental run need not look for its cell'
