-- one row per measure of the newest published run beside the one published before it; NULL where a side lacks it
WITH aged AS (
  SELECT run_id, row_number() OVER (ORDER BY published_at DESC, run_id DESC) AS age FROM ${runs}
), newest AS (
  SELECT * FROM ${metrics} WHERE run_id = (SELECT max(run_id) FROM aged WHERE age = 1)
), previous AS (
  SELECT * FROM ${metrics} WHERE run_id = (SELECT max(run_id) FROM aged WHERE age = 2)
)
SELECT task, metric, variant, scorer, stratum,
  newest.value AS value, previous.value AS previous_value, newest.value - previous.value AS change,
  (SELECT max(run_id) FROM aged WHERE age = 1) AS run_id,
  (SELECT max(run_id) FROM aged WHERE age = 2) AS previous_run_id
FROM newest FULL JOIN previous USING (task, metric, variant, scorer, stratum)
