"""Delta's jars beside Spark's own, so that sessions start at once and without a network.

`python -m graphseam.jars` resolves the coordinate once (Spark's own resolver) and copies what Spark lacks into the
installed pyspark. On a cluster, give spark-submit the coordinate instead: `--packages` with `delta_coordinate()`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pyspark

# Spark ships these itself; a second copy could only disagree with it.
SHIPPED_WITH_SPARK = ("org.apache.hadoop:*", "org.apache.parquet:*", "org.apache.logging.log4j:*", "org.slf4j:*",
                      "com.fasterxml.jackson.core:*", "com.fasterxml.jackson.datatype:*", "org.roaringbitmap:*")
DELTA_GROUPS = ("io.delta_", "io.unitycatalog_")


def delta_coordinate() -> str:
    """Maven coordinate of the Delta jar built for the installed Spark: 'io.delta:delta-spark_4.2_2.13:4.4.0'."""
    spark_line = ".".join(pyspark.__version__.split(".")[:2])
    return f"io.delta:delta-spark_{spark_line}_2.13:{version('delta-spark')}"


def spark_jars() -> Path:
    return Path(pyspark.__file__).parent / "jars"


def has_delta() -> bool:
    """Whether the installed pyspark already holds Delta's jar."""
    return any(spark_jars().glob("*delta-spark_*.jar"))


def install_jars() -> None:
    """Resolve Delta's coordinate and copy its jars into pyspark; nothing to do where they are there."""
    if has_delta():
        return
    with tempfile.TemporaryDirectory(prefix="graphseam-jars-") as ivy:
        probe = "from pyspark.sql import SparkSession; SparkSession.builder.getOrCreate().stop()"
        script = Path(ivy) / "probe.py"
        script.write_text(probe)
        submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
        command = [str(submit), "--master", "local[1]", "--packages", delta_coordinate(),
                   "--exclude-packages", ",".join(SHIPPED_WITH_SPARK),
                   "--conf", f"spark.jars.ivy={ivy}", "--conf", "spark.ui.enabled=false", str(script)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = [jar for jar in Path(ivy, "jars").glob("*.jar") if jar.name.startswith(DELTA_GROUPS)]
        if done.returncode or not found:
            sys.exit(f"graphseam: {delta_coordinate()} could not be fetched.\n{(done.stdout + done.stderr)[-2000:]}")
        for jar in found:
            shutil.copy(jar, spark_jars() / jar.name)


if __name__ == "__main__":
    install_jars()
