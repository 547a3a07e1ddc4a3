-- one row a measured number of the newest published run
SELECT task, metric, variant, scorer, value, support, run_id
FROM ${metrics}
WHERE run_id = (SELECT run_id FROM ${runs} ORDER BY published_at DESC, run_id DESC LIMIT 1)
