"""Validation of the sections: each error names the key, the value given, and what to give instead."""

from __future__ import annotations

import re
from collections.abc import Iterable

from graphseam.errors import ConfigError, nearest

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def require(holds: bool, key: str, value: object, wanted: str) -> None:
    """ConfigError unless `holds`. wanted: the end of the message, what to give instead."""
    if not holds:
        raise ConfigError(f"{key} is {value!r}; {wanted}")


def require_name(value: str, key: str, known: Iterable[str]) -> None:
    """ConfigError with the nearest name unless `value` is one of the known names."""
    names = tuple(known)
    if value not in names:
        raise ConfigError(f"{key} is {value!r}, which is not known.{nearest(value, names)}")


def check_run_id(run_id: str) -> str:
    """The run id itself; ConfigError unless it is safe in a path, a predicate and a file name."""
    if not RUN_ID.fullmatch(run_id):
        raise ConfigError(f"run id {run_id!r} cannot be used; give 1 to 128 letters, digits, '_', '.' or '-'")
    return run_id
