#!/usr/bin/env bash
# A local Airflow over tests/data: `conf/airflow.sh COMMAND`, such as `conf/airflow.sh airflow dags list`, runs a command
# with its settings. What a real installation sets by its own means (connection, variables) is set here by environment
# variables; see docs/airflow.md.
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"

export AIRFLOW_HOME="${AIRFLOW_HOME:-$here/.airflow}"
# Scheduler, DAG processor and commands write concurrently: wait longer for a lock than the default 5 s
export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite:///$AIRFLOW_HOME/airflow.db?timeout=120"
export AIRFLOW__CORE__DAGS_FOLDER="${AIRFLOW__CORE__DAGS_FOLDER:-$here/airflow_dags}"
export AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__CORE__PARALLELISM=4
# Whoever may trigger a DAG runs code as this user: only this machine can reach it, and only with the password of a file
# in a folder that other users cannot open, where its database and its keys are as well
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=admin:admin
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE="$AIRFLOW_HOME/passwords.json"
mkdir -p "$AIRFLOW_HOME" && chmod 700 "$AIRFLOW_HOME"
if [ ! -e "$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE" ]; then
  password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
  echo "{\"admin\": \"$password\"}" > "$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
fi
export AIRFLOW__API__HOST=127.0.0.1
export AIRFLOW__API__PORT="${AIRFLOW__API__PORT:-8080}"
export AIRFLOW__API__WORKERS=1
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="http://127.0.0.1:$AIRFLOW__API__PORT/execution/"
export AIRFLOW__API__BASE_URL="http://127.0.0.1:$AIRFLOW__API__PORT"
export AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL=30

data="$here/tests/data/lastfm_asia"
export AIRFLOW_CONN_GRAPHSEAM_SPARK="${AIRFLOW_CONN_GRAPHSEAM_SPARK:-{\"conn_type\": \"spark\", \"host\": \"local[2]\"\}}"
settings=$(cat <<JSON
{"jobs": "$here/jobs", "config": "$here/conf/demo.toml", "properties": {"default": "$here/conf/spark-local.conf"},
 "set": ["input.edges=$data/edges.parquet", "input.labels=$data/labels.parquet", "output.root=$here/demo_tables"]}
JSON
)
export AIRFLOW_VAR_GRAPHSEAM_PIPELINE="${AIRFLOW_VAR_GRAPHSEAM_PIPELINE:-$settings}"
export AIRFLOW_VAR_GRAPHSEAM_PIPELINE_SCHEDULE="${AIRFLOW_VAR_GRAPHSEAM_PIPELINE_SCHEDULE:-none}"  # otherwise unpausing starts a run
export AIRFLOW_VAR_GRAPHSEAM_LINKS="${AIRFLOW_VAR_GRAPHSEAM_LINKS:-{\"output\": \"$here/out/top_links\"\}}"

# spark-submit, and the Python that its driver runs, come from the other environment
export PATH="$here/.venv/bin:$here/.venv-airflow/bin:$PATH"
# Java's classes as the first `graphseam run` has laid them out, if there was one: ingest of the demo 11.5 -> 8.2 s
SPARK_SUBMIT_OPTS="${SPARK_SUBMIT_OPTS:-} $("$here/.venv/bin/python" -m graphseam.class_archive)"
export SPARK_SUBMIT_OPTS
exec "$@"
