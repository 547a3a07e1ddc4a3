"""Validation of the sections: each error names the key, the value given, and what to give instead."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timezone

from graphseam.errors import ConfigError, nearest

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def require(holds: bool, key: str, value: object, wanted: str) -> None:
    """ConfigError unless `holds`. wanted: the end of the message, what to give instead."""
    if not holds:
        raise ConfigError(f"{key} is {value!r}; {wanted}")


def require_name(value: str, key: str, known: Iterable[str]) -> None:
    """ConfigError with the nearest name unless `value` is one of the known names."""
    names = tuple(known)
    if value not in names:
        raise ConfigError(f"{key} is {value!r}, which is not known.{nearest(value, names)}")


def duration(key: str, text: str) -> tuple[float, bool]:
    """(the length of "90d" or "12h" in seconds, True), or (a number without a unit, False). ConfigError if neither."""
    found = DURATION.fullmatch(text.strip())
    if found is None or not 0 < float(found[1]) < math.inf:
        raise ConfigError(
            f"{key} is {text!r}; give a number above 0 with a unit (s, m, h, d or w), as in 90d, or without one, which "
            "is then in the unit of the column's numbers"
        )
    return float(found[1]) * SECONDS.get(found[2], 1), bool(found[2])


def point_in_time(key: str, text: str) -> tuple[float, bool]:
    """(seconds since 1970 of an ISO date or time, UTC unless it says otherwise, True), or (a number, False)."""
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number, False
    try:
        read = datetime.fromisoformat(text.strip().removesuffix("Z"))
    except ValueError:
        raise ConfigError(f"{key} is {text!r}; give a date or time, as in 2026-11-29 or 2026-11-29T06:00") from None
    return (read if read.tzinfo else read.replace(tzinfo=timezone.utc)).timestamp(), True


def check_run_id(run_id: str) -> str:
    """The run id itself; ConfigError unless it is safe in a path, a predicate and a file name."""
    if not RUN_ID.fullmatch(run_id):
        raise ConfigError(f"run id {run_id!r} cannot be used; give 1 to 128 letters, digits, '_', '.' or '-'")
    return run_id
