"""Run by test_doctor in a process of its own: executors that lack a package, then a cluster that gives none at all."""

import os
import sys

os.environ["PYSPARK_PYTHON"] = sys.executable

from pyspark.sql import SparkSession

from graphseam import preflight
from graphseam.config import config_of
from graphseam.errors import RunError
from graphseam.progress import StepProgress


def session(executor_cores: int) -> SparkSession:
    """Of a cluster whose only worker has one core."""
    return (
        SparkSession.builder.master("local-cluster[1,1,512]")
        .config("spark.executor.memory", "480m")
        .config("spark.executor.cores", executor_cores)
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.executorEnv.PYTHONPATH", os.pathsep.join(sys.path))
        .getOrCreate()
    )


def main() -> None:
    settings = {"input": {"edges": "unread"}, "output": {"root": "unwritten"}}
    config, progress = config_of(settings), StepProgress(total=1)
    hasty = config_of({**settings, "run": {"executors_within_s": 3}})
    spark = session(1)
    preflight.require_executors(spark, config, progress)
    preflight.FIRST_WORD_S = 1.0
    preflight.ON_EXECUTORS = (*preflight.ON_EXECUTORS, "no-such-package")
    for cores, patience in ((1, config), (4, hasty)):
        spark = session(cores)
        try:
            preflight.require_executors(spark, patience, progress)
        except RunError as error:
            print(error)
        spark.stop()


if __name__ == "__main__":
    main()
