"""Run by test_heap in a process of its own: a task fills the heap of an executor of its own. Prints what is told."""

import os
import sys

os.environ["PYSPARK_PYTHON"] = sys.executable

from pyspark.sql import SparkSession

from graphseam.errors import HeapError
from graphseam.heap import heap_errors_told

TOO_LARGE = "SELECT size(collect_list(repeat(cast(id AS STRING), 3000000))) FROM range(0, 400, 1, 2)"


def main() -> None:
    spark = (
        SparkSession.builder.master("local-cluster[1,1,512]")
        .config("spark.executor.memory", "480m")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.task.maxFailures", "1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    try:
        with heap_errors_told("that is the way on"):
            spark.sql(TOO_LARGE).collect()
    except HeapError as error:
        print(error)
    spark.stop()


if __name__ == "__main__":
    main()
