"""graphseam's errors: each says what was found, what was expected, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GraphseamError(Exception):
    """Base of all errors meant for users; the command line prints them as one line, without a stack trace."""


class ConfigError(GraphseamError):
    """The configuration holds a key or value that cannot be used."""


class InputError(GraphseamError):
    """An input file or table is missing, unreadable, or lacks something that was asked for."""


class RunError(GraphseamError):
    """A run cannot be started, resumed or read: wrong id, wrong order of steps, or different inputs than before."""


class GateError(RunError):
    """A run is worse than the one published before it by more than gate.max_drop, and is not published."""


class MemoryBudgetError(GraphseamError):
    """A piece of work is predicted to need more memory than one task may use."""


class HeapError(GraphseamError):
    """Java's memory was full, in Spark's driver or an executor; the message names the setting that bounds it."""


class EmbeddingError(GraphseamError):
    """A subgraph could not be embedded; the message names it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: ' Did you mean …?' if one is close, then the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(names) or 'none'}."
