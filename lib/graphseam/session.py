"""The Spark session, with the settings that graphseam needs wherever it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pyarrow as pa
from pyspark import SparkConf, SparkContext
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from graphseam.heap import UNDER_SUBMIT, local_heap, megabytes, remember_heaps
from graphseam.jars import has_delta
from graphseam.local_java import ensure_started
from graphseam.scratch import scratch_folder
from graphseam.spark_line import delta_coordinate, map_groups

# Each of these is needed for correct results or for Delta; a cluster's other settings are left alone.
REQUIRED = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.unionOutputPartitioning": "false",  # else a union of cached Arrow results can skip a needed shuffle
    "spark.sql.legacy.parameterSubstitution.constantsOnly": "true",  # else Delta breaks spark.sql(..., args=...)
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",  # Spark 3.5 would silently turn what it cannot cast into nulls
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
}
# Unless configured otherwise. The first: Spark renders each plan as text for its listeners, again after every shuffle,
# and keeps the texts of a thousand queries: texts that nobody reads must not fill the driver.
BOUNDED = {
    "spark.sql.maxPlanStringLength": "32768",
    # Of rows that are kept, Java's serialiser holds on to so many batches: a hundred of 10,000 rows with lists of 20
    # numbers were over a gigabyte per task.
    "spark.sql.inMemoryColumnarStorage.batchSize": "2000",
    "spark.serializer.objectStreamReset": "10",
    # float32 vectors hardly repeat: a dictionary of them is given up after it was built. Delta takes no such option.
    "parquet.enable.dictionary#vector.list.element": "false",
    # Delta reads the log of a table by 50 tasks unless told otherwise: for logs of some hundred files
    "spark.databricks.delta.snapshotPartitions": "4",
    # Files of up to so many partitions of a table are written side by side; else all rows are sorted by run_id first,
    # which is the same for all of them.
    "spark.sql.maxConcurrentOutputFileWriters": "16",
}
# For local sessions only: quiet, no web server, small graphs in seconds.
LOCAL = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.ui.retainedExecutions": "20",  # their plans fill the heap, and without a web server none is shown
    "spark.ui.retainedJobs": "100",
    "spark.ui.retainedStages": "100",
    "spark.ui.retainedTasks": "1000",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.databricks.delta.snapshotPartitions": "1",
    # Hadoop starts a `chmod` or a `readlink` for each file that Delta commits, and as many for its checksum file
    "spark.hadoop.fs.AbstractFileSystem.file.impl": "org.apache.hadoop.fs.local.RawLocalFs",
    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
    "spark.log.level": "ERROR",
}
LOCAL_MASTER = "local[*, 2]"  # all cores; a task whose worker died is tried once more, which local[*] would not do
CLUSTER_TASK_MB = 4096
SHARE_OF_MACHINE = 0.25  # of its memory that vectors in a file may take, which all tasks read from its cache of files
MANY_TASKS = 1 << 20  # more than run at once
ROWS_PER_SHUFFLE_PARTITION = 500_000
COMPILE_FROM_ROWS = ADAPT_FROM_ROWS = 200_000


def build_session(app_name: str = "graphseam", local: bool = False, brief: bool = False) -> SparkSession:
    """The running session, or a new one.

    local=True: all cores of this machine, unless a master is already configured (as under spark-submit).
    brief: of a local session, for a few statements that need no torch in Python workers.
    Python workers use this interpreter: by default Spark takes whatever `python3` is on the PATH.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(app_name)
    if local:
        ensure_started()
    if UNDER_SUBMIT in os.environ:  # its settings are known only after the connection to its JVM
        SparkContext._ensure_initialized()
    submitted = SparkConf(loadDefaults=UNDER_SUBMIT in os.environ)
    for key, value in REQUIRED.items():
        builder = builder.config(key, value)
    if local and not submitted.contains("spark.master"):
        builder = builder.master(LOCAL_MASTER).config("spark.sql.shuffle.partitions", str(2 * (os.cpu_count() or 1)))
        # else Spark makes one in the working directory
        builder = builder.config("spark.sql.warehouse.dir", (scratch_folder() / "warehouse").as_uri())
        if not brief:
            builder = builder.config("spark.python.daemon.module", "graphseam.worker_daemon")
        builder = builder.config("spark.driver.memory", local_heap())  # of a Java that was there before, too
    is_local = local or str(submitted.get("spark.master")).startswith("local")
    for key, value in unset({**BOUNDED, **(LOCAL if is_local else {})}, submitted).items():
        builder = builder.config(key, value)
    if not has_delta() and not submitted.contains("spark.jars.packages"):
        builder = builder.config("spark.jars.packages", delta_coordinate())
    session = builder.getOrCreate()
    remember_heaps(session.sparkContext)
    return session


def unset(settings: dict[str, str], configured: SparkConf) -> dict[str, str]:
    """The settings that `configured` does not contain."""
    return {key: value for key, value in settings.items() if not configured.contains(key)}


def size_shuffles(spark: SparkSession, num_rows: int) -> None:
    """Scale Spark to the data: one shuffle partition per 500,000 rows, at least one per core, and at least three.

    Partitions are joined only below a megabyte each: Spark goes by their compressed size, and 31 MB of node numbers
    were 16 million rows, which filled a heap of 4 GB in one task.
    Below 200,000 rows plans are interpreted, and not adapted: compiling them, or planning again after each shuffle,
    would take longer than running them. Two things that interpreted plans do slowly for every row are left out, half of
    a small run's work on executors: Delta's statistics of columns, which let readers skip files that a small table does
    not have, and the cache of common subexpressions.
    """
    wanted = max(num_rows // ROWS_PER_SHUFFLE_PARTITION, spark.sparkContext.defaultParallelism, 3)
    partitions = str(min(wanted, 20_000))
    spark.conf.set("spark.sql.shuffle.partitions", partitions)
    spark.conf.set("spark.sql.adaptive.coalescePartitions.minPartitionNum", partitions)
    spark.conf.set("spark.sql.adaptive.enabled", str(num_rows >= ADAPT_FROM_ROWS).lower())
    compiled = num_rows >= COMPILE_FROM_ROWS
    spark.conf.set("spark.sql.codegen.wholeStage", str(compiled).lower())
    spark.conf.set("spark.sql.codegen.factoryMode", "FALLBACK" if compiled else "NO_CODEGEN")
    spark.conf.set("spark.sql.subexpressionElimination.enabled", str(compiled).lower())
    spark.conf.set("spark.databricks.delta.stats.collect", str(compiled).lower())


def in_one_process(spark: SparkSession) -> bool:
    """Whether executors are threads of the driver's JVM: one machine, one file system."""
    return str(spark.sparkContext.master).startswith("local[")


def cores_of_a_task(spark: SparkSession, num_tasks: int) -> int:
    """Threads for each task of a stage: its share of an executor's cores, all of them if it runs alone."""
    conf = spark.sparkContext.getConf()
    local = str(spark.sparkContext.master).startswith("local")
    cores = spark.sparkContext.defaultParallelism if local else int(conf.get("spark.executor.cores", "1") or 1)
    return max(1, cores // max(1, num_tasks), int(conf.get("spark.task.cpus", "1") or 1))


def memory_of_a_task(spark: SparkSession, configured_mb: int, num_tasks: int) -> int:
    """MB that each of `num_tasks` tasks of a stage may use: what is configured, else a cautious guess.

    In a local session: 70 % of what the JVM's heap leaves of the machine's memory, shared by the tasks that run at
    once. On a cluster 4,096, as nothing reports what the executors' overhead leaves.
    """
    if configured_mb:
        return configured_mb
    if not in_one_process(spark):
        return CLUSTER_TASK_MB
    heap_mb = megabytes(spark.conf.get("spark.driver.memory", "1g") or "1g") or 1024
    return local_task_mb(heap_mb, min(num_tasks, spark.sparkContext.defaultParallelism))


def local_task_mb(heap_mb: int, at_once: int) -> int:
    """MB of each of so many tasks of a local session whose JVM has that heap."""
    spare_mb = int(0.7 * (psutil.virtual_memory().total / 2**20 - heap_mb))
    return max(64, spare_mb // max(1, at_once))


def can_map(num_rows: int, dim: int) -> bool:
    """Whether this machine's cache of files can hold so many float32 vectors beside others' files, for its tasks to
    map."""
    return 4 * num_rows * dim <= SHARE_OF_MACHINE * psutil.virtual_memory().total


@contextmanager
def persisted(rows: DataFrame) -> Iterator[DataFrame]:
    """Keep `rows` for the two or more actions inside the block, and free them after it."""
    kept = rows.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        yield kept
    finally:
        kept.unpersist()


def in_one_task(rows: DataFrame, function: Callable[[pa.Table], pa.Table], schema: str) -> DataFrame:
    """Pass all rows to one call in one task; for samples whose size the configuration bounds."""
    columns = rows.columns
    task = rows.withColumn("_task", F.lit(0))
    return map_groups(task, "_task", lambda table: function(table.select(columns)), schema)


def columns_of(rows: DataFrame) -> str:
    """The columns of `rows` as an SQL schema, for Arrow functions that add columns."""
    return ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in rows.schema.fields)


def empty_list(kind: str) -> Column:
    """An empty ARRAY<kind>, in place of a missing list in rows that are sent to Python.

    Spark 4.2 takes about 50 microseconds to pass a null list to Arrow: a million of them cost most of a minute.
    """
    return F.array().cast(f"array<{kind}>")
