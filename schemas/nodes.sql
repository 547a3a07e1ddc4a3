CREATE TABLE IF NOT EXISTS ${table} (
  run_id  STRING NOT NULL COMMENT 'run that wrote the row',
  node_id BIGINT NOT NULL COMMENT 'dense number of the node; an id keeps it in later runs of the same root',
  id      STRING NOT NULL COMMENT 'the id as it came; a whole number is written in digits',
  type    STRING          COMMENT 'as input.node_type has it; null where no type is given',
  side    STRING          COMMENT 'column of the edges its id came in: src, dst or both; null for a node without a row there'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per node'
TBLPROPERTIES (
  'delta.constraints.node_id_not_negative' = 'node_id >= 0',
  'graphseam.public' = 'true',
  'graphseam.sort' = 'node_id',
  'graphseam.ids' = 'id'
)
