CREATE TABLE IF NOT EXISTS ${table} (
  run_id             STRING NOT NULL    COMMENT 'run that wrote the row',
  status             STRING NOT NULL    COMMENT 'published',
  published_at       TIMESTAMP NOT NULL COMMENT 'UTC',
  seed               BIGINT NOT NULL    COMMENT 'run.seed',
  config             STRING NOT NULL    COMMENT 'JSON of the whole configuration',
  config_fingerprint STRING NOT NULL    COMMENT 'see run_steps',
  input_fingerprint  STRING NOT NULL    COMMENT 'see run_steps',
  id_type            STRING NOT NULL    COMMENT 'integer or string: how ids came',
  num_nodes          BIGINT NOT NULL    COMMENT 'nodes embedded',
  num_edges          BIGINT NOT NULL    COMMENT 'edges embedded',
  dim                INT NOT NULL       COMMENT 'vector length',
  view_widths        ARRAY<INT>         COMMENT 'columns of each view side by side in a vector, dim in all; NULL in runs of graphseam 0.1.0',
  window_weight      DOUBLE             COMMENT 'length of the window view beside the spectral views in the vectors; 0: no such view; NULL in runs of graphseam 0.1.0',
  durations          STRING NOT NULL    COMMENT 'JSON: seconds a step',
  versions           STRING NOT NULL    COMMENT 'JSON: graphseam and what it runs on'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per published run; a run counts once it stands here'
TBLPROPERTIES (
  'graphseam.public' = 'true'
)
