"""GPU scheduling without a GPU: Spark's own resource scheduling over a discovery script that reports two addresses."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROBE = """
import sys
from pyspark.sql import SparkSession

script = sys.argv[1]
builder = SparkSession.builder.master("local-cluster[1,2,1024]")
for key, value in {
    "spark.worker.resource.gpu.amount": "2", "spark.worker.resource.gpu.discoveryScript": script,
    "spark.executor.resource.gpu.amount": "2", "spark.executor.resource.gpu.discoveryScript": script,
    "spark.task.resource.gpu.amount": "1", "spark.executor.cores": "2", "spark.ui.enabled": "false",
}.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()


def devices(rows):
    import time
    from graphseam.embed.executor import task_device
    time.sleep(0.5)
    yield task_device()


print("DEVICES", sorted(set(spark.sparkContext.parallelize(range(8), 8).mapPartitions(devices).collect())))
spark.stop()
"""


def test_a_task_embeds_on_the_gpu_that_spark_gave_it(tmp_path):
    script = tmp_path / "gpus.sh"
    script.write_text('#!/bin/sh\necho \'{"name": "gpu", "addresses": ["0", "1"]}\'\n')
    script.chmod(0o755)
    (tmp_path / "probe.py").write_text(PROBE)
    done = subprocess.run([sys.executable, str(tmp_path / "probe.py"), str(script)], capture_output=True, text=True,
                          timeout=300, check=False, env={**os.environ, "PYSPARK_PYTHON": sys.executable})
    assert "DEVICES ['cuda:0', 'cuda:1']" in done.stdout, done.stderr[-3000:]
