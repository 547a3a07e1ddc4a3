CREATE TABLE IF NOT EXISTS ${table} (
  run_id          STRING NOT NULL    COMMENT 'run that was about to be published',
  previous_run_id STRING NOT NULL    COMMENT 'published run it was compared with, the newest then',
  task            STRING NOT NULL    COMMENT 'link_prediction, node_classification, or graph for its nodes and edges',
  metric          STRING NOT NULL    COMMENT 'see metrics; nodes, edges: embedded ones',
  variant         STRING NOT NULL    COMMENT 'see metrics; empty for the graph',
  scorer          STRING NOT NULL    COMMENT 'see metrics; empty for the graph',
  value           DOUBLE             COMMENT 'of the run; NULL where it has none and the previous has',
  previous_value  DOUBLE NOT NULL    COMMENT 'of the previous run',
  fall            DOUBLE             COMMENT 'share of previous_value it fell by, below 0 where it rose; NULL as value',
  max_drop        DOUBLE NOT NULL    COMMENT 'gate.max_drop: the fall that is allowed',
  passed          BOOLEAN NOT NULL   COMMENT 'false: the run was stopped before it was published'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per measure the gate compared, also for runs that it stopped'
TBLPROPERTIES (
  'graphseam.public' = 'true'
)
