CREATE TABLE IF NOT EXISTS ${table} (
  run_id       STRING NOT NULL    COMMENT 'run that wrote the row',
  level        INT NOT NULL       COMMENT 'level of the subgraph',
  subgraph_id  INT NOT NULL       COMMENT 'subgraph that was embedded',
  method       STRING NOT NULL    COMMENT 'embed.method',
  num_nodes    BIGINT NOT NULL    COMMENT 'nodes with an edge in the subgraph',
  num_edges    BIGINT NOT NULL    COMMENT 'edges between them',
  predicted_mb DOUBLE NOT NULL    COMMENT 'memory that was predicted, checked against run.task_memory_mb before the stage',
  peak_mb      DOUBLE NOT NULL    COMMENT 'memory the Python worker was seen to add for it, libraries left out',
  worker_mb    DOUBLE NOT NULL    COMMENT 'resident memory of the whole Python worker at that peak',
  seconds      DOUBLE NOT NULL    COMMENT 'wall time in the task, from rows to vectors',
  started_at   TIMESTAMP NOT NULL COMMENT 'when it began',
  device       STRING NOT NULL    COMMENT 'what it was computed on: cpu or cuda:n',
  gpu          STRING             COMMENT 'address of the GPU that Spark gave the task, null where it gave none',
  gpu_predicted_mb DOUBLE         COMMENT 'memory of the GPU that was predicted, CUDA included; null on a CPU',
  gpu_peak_mb  DOUBLE             COMMENT 'most of the GPU that torch held for it, CUDA left out; null on a CPU',
  threads      INT NOT NULL       COMMENT 'threads that torch and BLAS might use',
  host         STRING NOT NULL    COMMENT 'machine or pod it ran on',
  process      BIGINT NOT NULL    COMMENT 'process id of the Python worker'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per subgraph: where it was embedded, how long it took, memory predicted and measured'
TBLPROPERTIES (
  'graphseam.public' = 'true'
)
