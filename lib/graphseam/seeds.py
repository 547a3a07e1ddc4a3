"""Randomness that depends on what is computed, not on where Spark computes it."""

from __future__ import annotations

import hashlib

import numpy as np
from pyspark.sql import Column
from pyspark.sql import functions as F

SPARK_SEED = 42  # of its xxhash64
PRIMES = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
INT_BYTES, LONG_BYTES, LONGEST_TEXT = 4, 8, 31  # of what is hashed here


def derive_seed(seed: int, *path: str | int) -> int:
    """A 63-bit seed for one piece of work, such as ("embed", 17); the same on every machine and retry."""
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def uniform(seed: int, *columns: str | Column) -> Column:
    """A number in [0, 1) computed from the row's own values, so it is the same in every layout of the data."""
    return F.pmod(F.xxhash64(F.lit(seed), *columns), F.lit(1 << 53)) / F.lit(float(1 << 53))


def uniform_of(seed: int, *values: str | np.ndarray) -> np.ndarray:
    """float64[n]: as `uniform`, by numpy: of a seed of `derive_seed`, texts, and int64[n] or int32[n].

    Source: Spark's XXH64 (Collet's xxHash, for integers and for texts of up to 31 bytes). ValueError for a longer text.
    """
    state = np.array([SPARK_SEED], np.uint64)
    with np.errstate(over="ignore"):
        for value in (np.array([seed], np.int64), *values):
            if isinstance(value, str):
                state = _hash_text(value, state)
            else:
                state = (_hash_ints if value.dtype == np.int32 else _hash_longs)(value, state)
    return (state & np.uint64((1 << 53) - 1)).astype(np.float64) / float(1 << 53)


def _hash_longs(values: np.ndarray, state: np.ndarray) -> np.ndarray:
    started = state + np.uint64(PRIMES[4]) + np.uint64(LONG_BYTES)
    return _finished(_with_eight_bytes(started, values.astype(np.int64).view(np.uint64)))


def _hash_ints(values: np.ndarray, state: np.ndarray) -> np.ndarray:
    return _finished(_with_four_bytes(state + np.uint64(PRIMES[4]) + np.uint64(INT_BYTES), values.view(np.uint32)))


def _hash_text(text: str, state: np.ndarray) -> np.ndarray:
    data = text.encode()
    if len(data) > LONGEST_TEXT:
        raise ValueError(f"a text of {len(data)} bytes, where at most {LONGEST_TEXT} are hashed: {text!r}")
    state = state + np.uint64(PRIMES[4]) + np.uint64(len(data))
    at = 0
    for at in range(8, len(data) + 1, 8):
        state = _with_eight_bytes(state, np.frombuffer(data[at - 8 : at], np.uint64))
    if len(data) - at >= 4:
        state = _with_four_bytes(state, np.frombuffer(data[at : at + 4], np.uint32))
        at += 4
    for byte in data[at:]:
        state = _rotated(state ^ (np.uint64(byte) * np.uint64(PRIMES[4])), 11) * np.uint64(PRIMES[0])
    return _finished(state)


def _with_four_bytes(state: np.ndarray, word: np.ndarray) -> np.ndarray:
    mixed = word.astype(np.uint64) * np.uint64(PRIMES[0])
    return _rotated(state ^ mixed, 23) * np.uint64(PRIMES[1]) + np.uint64(PRIMES[2])


def _with_eight_bytes(state: np.ndarray, word: np.ndarray) -> np.ndarray:
    mixed = _rotated(word * np.uint64(PRIMES[1]), 31) * np.uint64(PRIMES[0])
    return _rotated(state ^ mixed, 27) * np.uint64(PRIMES[0]) + np.uint64(PRIMES[3])


def _rotated(number: np.ndarray, bits: int) -> np.ndarray:
    return (number << np.uint64(bits)) | (number >> np.uint64(64 - bits))


def _finished(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(33))) * np.uint64(PRIMES[1])
    state = (state ^ (state >> np.uint64(29))) * np.uint64(PRIMES[2])
    return state ^ (state >> np.uint64(32))
