"""Spark's Python daemon with torch loaded before it forks: workers start with it instead of taking seconds each.

Importing torch starts no thread and touches no GPU, so the forks are safe; they share its pages. For local sessions
only: on a cluster the daemon starts before the job's files have arrived.
"""

import torch  # noqa: F401
from pyspark.daemon import manager

if __name__ == "__main__":
    manager()
