CREATE TABLE IF NOT EXISTS ${table} (
  run_id    STRING NOT NULL       COMMENT 'run that wrote the row',
  cell      INT NOT NULL          COMMENT 'number of the cell; near cells have near numbers',
  centroid  ARRAY<FLOAT> NOT NULL COMMENT 'its middle, of length 1',
  share     DOUBLE NOT NULL       COMMENT 'of the nodes, about, whose nearest cell it is',
  gap       DOUBLE NOT NULL       COMMENT 'of all cells: radians that another may be farther than the nearest, in which a node looks for others',
  found_gap DOUBLE NOT NULL       COMMENT 'of all cells: the same, in which a node is found'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per cell in which predict_links looked for near nodes; an incremental run looks in those of its base'
