-- one row per measured number of the newest published run; stratum 'all' is the whole, the others break it down by degree
SELECT task, metric, variant, scorer, stratum, value, support, run_id
FROM ${metrics}
WHERE run_id = (SELECT run_id FROM ${runs} ORDER BY published_at DESC, run_id DESC LIMIT 1)
