CREATE TABLE IF NOT EXISTS ${table} (
  run_id  STRING NOT NULL COMMENT 'run that wrote the row',
  method  STRING NOT NULL COMMENT 'cells; hnsw in runs of graphseam 0.1.0',
  top_k   INT NOT NULL    COMMENT 'nearest nodes looked for',
  recall  DOUBLE NOT NULL COMMENT 'share of the exact top_k that the search can find, by their cosine',
  queries BIGINT NOT NULL COMMENT 'nodes asked for, a sample',
  indexes INT NOT NULL    COMMENT 'groups of nodes, each searched as a whole',
  step    STRING          COMMENT 'predict_links or predict_similar; NULL in runs of graphseam 0.1.0, of predict_links',
  copies  DOUBLE          COMMENT 'groups that a node is sent to, on average'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per run and step: how much of the exact answer an approximate search for near nodes finds'
