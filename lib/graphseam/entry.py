"""What the jobs under spark-submit share: their arguments, and (as the command line) one clear line for an error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from graphseam.errors import GraphseamError
from graphseam.heap import heap_errors_told


def job_arguments(description: str, config_help: str) -> argparse.ArgumentParser:
    """A parser with --config and --set; the job adds what else it takes. description: what --help tells of the job."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", required=True, help=config_help)
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help="override a setting")
    return parser


@contextmanager
def one_clear_line() -> Iterator[None]:
    """A GraphseamError inside the block, or a full Java heap, becomes one line on standard error, and exit status 1."""
    try:
        with heap_errors_told():
            yield
    except GraphseamError as error:
        print(f"graphseam: {error}", file=sys.stderr)
        sys.exit(1)
