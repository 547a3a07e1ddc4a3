CREATE TABLE IF NOT EXISTS ${table} (
  run_id         STRING NOT NULL       COMMENT 'published run whose vectors the node was placed among',
  batch          STRING NOT NULL       COMMENT 'name of the batch of edges it arrived with',
  id             STRING NOT NULL       COMMENT 'the id as it came',
  node_id        BIGINT NOT NULL       COMMENT 'number of the node within the run; a later run numbers it itself',
  vector         ARRAY<FLOAT> NOT NULL COMMENT 'float32[dim], from its neighbours; zeros where unreachable',
  num_neighbours INT NOT NULL          COMMENT 'nodes the batch joins it to',
  hops           INT                   COMMENT 'steps to the nearest node that has a vector in the run; null where unreachable',
  status         STRING NOT NULL       COMMENT 'placed, or unreachable: no path to a node with a vector within place.max_hops steps'
) USING delta PARTITIONED BY (run_id, batch)
COMMENT 'one row per batch and node that arrived after its run, or had no edge there'
TBLPROPERTIES (
  'graphseam.public' = 'true',
  'graphseam.sort' = 'batch, node_id',
  'graphseam.ids' = 'id'
)
