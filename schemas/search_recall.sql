CREATE TABLE IF NOT EXISTS ${table} (
  run_id  STRING NOT NULL COMMENT 'run that wrote the row',
  method  STRING NOT NULL COMMENT 'hnsw',
  top_k   INT NOT NULL    COMMENT 'nearest nodes looked for',
  recall  DOUBLE NOT NULL COMMENT 'share of the exact top_k that the search found, by their cosine',
  queries BIGINT NOT NULL COMMENT 'nodes asked for, a sample',
  indexes INT NOT NULL    COMMENT 'shards, one index each'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per run: how much of the exact answer the search for similar nodes finds'
