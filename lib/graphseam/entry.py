"""Shared by the command line and the jobs under spark-submit: the jobs' arguments, and one clear line per error."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from graphseam.causes import cause_in_the_system, true_cause
from graphseam.errors import GraphseamError, HeapError
from graphseam.heap import end_local_jvm, heap_errors_told, silence_py4j
from graphseam.local_java import log_file


def job_arguments(description: str, config_help: str) -> argparse.ArgumentParser:
    """A parser with --config and --set; the job adds its own arguments. description: what --help says about the job."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", required=True, help=config_help)
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help="override a setting")
    return parser


@contextmanager
def one_clear_line() -> Iterator[None]:
    """Turn an error of graphseam or of Spark inside the block into one line on standard error and exit status 1.

    The line gives the cause, not the call that failed; where Java and Spark have printed more, it names their log file.
    GRAPHSEAM_TRACEBACK=1 in the environment lets an error of Spark through, with its traceback.
    """
    silence_py4j()
    try:
        with heap_errors_told():
            yield
    except GraphseamError as error:
        if isinstance(error, HeapError):
            end_local_jvm()
        print(f"graphseam: {error}", file=sys.stderr)
        sys.exit(1)
    except (PySparkException, Py4JError, ConnectionError) as error:
        if os.environ.get("GRAPHSEAM_TRACEBACK"):
            raise
        log = log_file()
        more = f"Spark's log: {log}" if log else "GRAPHSEAM_TRACEBACK=1 shows where"
        print(f"graphseam: Spark failed: {true_cause(error)}; {more}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if os.environ.get("GRAPHSEAM_TRACEBACK"):
            raise
        print(f"graphseam: {cause_in_the_system(error)}", file=sys.stderr)
        sys.exit(1)
