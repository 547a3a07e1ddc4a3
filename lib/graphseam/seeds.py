"""Randomness that depends on what is computed, not on where Spark computes it."""

from __future__ import annotations

import hashlib

from pyspark.sql import Column
from pyspark.sql import functions as F


def derive_seed(seed: int, *path: str | int) -> int:
    """A 63-bit seed for one piece of work, such as ("embed", 17); the same on every machine and retry."""
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def uniform(seed: int, *columns: str | Column) -> Column:
    """A number in [0, 1) computed from the row's own values, so it is the same in every layout of the data."""
    return F.pmod(F.xxhash64(F.lit(seed), *columns), F.lit(1 << 53)) / F.lit(float(1 << 53))
