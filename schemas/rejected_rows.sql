CREATE TABLE IF NOT EXISTS ${table} (
  run_id  STRING NOT NULL COMMENT 'run that wrote the row',
  source  STRING NOT NULL COMMENT 'edges, nodes or labels; batch NAME for edges that arrived after the run',
  reason  STRING NOT NULL COMMENT 'why the row cannot be used',
  file    STRING          COMMENT 'file that held it',
  content STRING          COMMENT 'the row as it came, at most 1,000 characters'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per input row that was set aside'
TBLPROPERTIES (
  'graphseam.public' = 'true'
)
