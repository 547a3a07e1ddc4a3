"""Shared by the jobs under spark-submit: their arguments and, as in the command line, one clear line per error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from graphseam.errors import GraphseamError, HeapError
from graphseam.heap import end_local_jvm, heap_errors_told, silence_py4j


def job_arguments(description: str, config_help: str) -> argparse.ArgumentParser:
    """A parser with --config and --set; the job adds its own arguments. description: what --help says about the job."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", required=True, help=config_help)
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help="override a setting")
    return parser


@contextmanager
def one_clear_line() -> Iterator[None]:
    """Turn a GraphseamError or a full Java heap inside the block into one line on standard error and exit status 1."""
    silence_py4j()
    try:
        with heap_errors_told():
            yield
    except GraphseamError as error:
        if isinstance(error, HeapError):
            end_local_jvm()
        print(f"graphseam: {error}", file=sys.stderr)
        sys.exit(1)
