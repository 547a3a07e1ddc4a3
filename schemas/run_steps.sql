CREATE TABLE IF NOT EXISTS ${table} (
  run_id             STRING NOT NULL    COMMENT 'run that wrote the row',
  step               STRING NOT NULL    COMMENT 'ingest, partition, embed, fuse, refine, predict_links, predict_nodes, predict_similar, evaluate or publish',
  status             STRING NOT NULL    COMMENT 'started (once, when the run began), finished or failed',
  started_at         TIMESTAMP NOT NULL COMMENT 'UTC',
  seconds            DOUBLE NOT NULL    COMMENT 'wall time',
  peak_memory_mb     DOUBLE NOT NULL    COMMENT 'largest resident memory of the driver process so far',
  details            STRING NOT NULL    COMMENT 'JSON: rows and shares the step reports',
  config_fingerprint STRING NOT NULL    COMMENT 'of everything in the configuration that changes results',
  input_fingerprint  STRING NOT NULL    COMMENT 'of the names, sizes and times of the input files'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per attempt at a step; the newest of a step counts'
TBLPROPERTIES (
  'graphseam.public' = 'true'
)
