"""The command line: `graphseam init`, `run`, `sql`, `report`, `export`, `similar`, `place`, `doctor`, …"""

from __future__ import annotations

import sys

from graphseam.cli import planning, running, tables  # they register their commands
from graphseam.cli.app import app
from graphseam.entry import one_clear_line

__all__ = ["app", "main", "planning", "running", "tables"]


def main() -> None:
    """Entry point: an error of graphseam or of Spark becomes one line on standard error and exit status 1."""
    try:
        with one_clear_line():
            app(standalone_mode=True)
    except KeyboardInterrupt:
        print("graphseam: stopped; the same --run-id takes the run up again", file=sys.stderr)
        sys.exit(130)
