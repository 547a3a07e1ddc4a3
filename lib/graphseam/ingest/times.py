"""Edges with a time: those outside a window are left out, and older ones weigh less."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from graphseam.errors import InputError
from graphseam.ingest.reading import TIMES, text_of
from graphseam.sections import InputConfig
from graphseam.sections.checks import duration, point_in_time

EARLIEST, LATEST = 1e8, 1e11  # numbers outside are no seconds since 1970: 1973, 5138
MOST_HALVINGS = 40.0  # older edges weigh no less, so that no weight becomes zero


@dataclass(frozen=True)
class InTime:
    """Rows of edges within the window, with weights that have faded. read: how many rows there were before. until: the
    time that ages count from, as text; empty if there is none."""

    rows: DataFrame
    read: int
    until: str


def within_window(rows: DataFrame, config: InputConfig) -> InTime:
    """Leave out edges later than input.until or older than input.window, and let weights fade by input.half_life.

    rows: as `with_reason` returns them, with the column `time`. A time that is missing or cannot be read is a reason to
    reject the row. In a column of text the times are numbers if more rows have those, else dates. Numbers are seconds
    since 1970 where a setting has a unit or is a date. Cost: one pass. Errors: InputError if they cannot be that.
    """
    number, dated = _numbers(rows), _seconds(rows)
    usable = F.col("reason").isNull()
    kinds = [F.when(usable, kind) for kind in (number, dated)]
    counts = rows.agg(F.count("*"), *[count(kind) for kind in kinds for count in (F.count, F.max)]).head()
    assert counts is not None  # an aggregate without groups has one row
    read, with_number, highest, with_date, latest = counts
    are_numbers = with_number >= with_date and with_number > 0
    timed = rows.withColumn("when", number if are_numbers else dated)
    missing = F.when(text_of(rows, "time").isNull(), "time is missing")
    unread = F.when(F.col("when").isNull(), "time is not a number" if are_numbers else "time is not a date or time")
    timed = timed.withColumn("reason", F.coalesce("reason", missing, unread))
    newest = highest if are_numbers else latest
    if newest is None:
        return InTime(timed.drop("when", "time"), read, "")
    given = _in_unit(config, newest, are_numbers)
    until = given.get("until", newest)
    age = F.lit(until) - F.col("when")
    inside = age >= 0
    if "window" in given:
        inside &= age < F.lit(given["window"])
    timed = timed.where(~usable | inside)
    if "half_life" in given:
        halvings = F.least(age / F.lit(given["half_life"]), F.lit(MOST_HALVINGS))
        timed = timed.withColumn("weight", F.col("weight") * F.pow(F.lit(2.0), -halvings))
    told = str(until) if are_numbers else datetime.fromtimestamp(until, timezone.utc).isoformat()
    return InTime(timed.drop("when", "time"), read, told)


def _numbers(rows: DataFrame) -> Column:
    """The time as a finite number; null where it is none."""
    if isinstance(rows.schema["time"].dataType, TIMES):
        return F.lit(None).cast("double")
    number = F.expr("try_cast(time AS DOUBLE)")
    return F.when(~F.isnan(number) & (F.abs(number) < float("inf")), number)


def _seconds(rows: DataFrame) -> Column:
    """The time as seconds since 1970, UTC where it has no zone; null where it is neither a date nor a time."""
    kind = rows.schema["time"].dataType
    if isinstance(kind, TIMES):
        return F.unix_micros(F.col("time").cast("timestamp")) / 1e6
    if isinstance(kind, StringType):
        text = F.trim("time")
        return F.when(_numbers(rows).isNull(), F.unix_micros(F.try_to_timestamp(text)) / 1e6)
    return F.lit(None).cast("double")


def _in_unit(config: InputConfig, newest: float, are_numbers: bool) -> dict[str, float]:
    """Those of until, window and half_life that are set, in the column's unit, or in seconds where it holds dates.

    InputError if numbers are taken for seconds that cannot be, or the reverse.
    """
    read = {
        key: duration(f"input.{key}", getattr(config, key)) for key in ("window", "half_life") if getattr(config, key)
    }
    if config.until:
        read["until"] = point_in_time("input.until", config.until)
    for key, (_, has_unit) in read.items():
        given = f"input.{key} is {getattr(config, key)!r}"
        if are_numbers and has_unit and not EARLIEST <= abs(newest) < LATEST:
            raise InputError(
                f"{given}, and the times in column {config.time!r} of {config.edges!r} go up to {newest:,.15g}, which "
                "cannot be seconds since 1970; give a number in the column's own unit"
            )
        if not are_numbers and not has_unit:
            raise InputError(
                f"{given}, and column {config.time!r} of {config.edges!r} holds dates or times; give "
                + ("a date or time, as in 2026-11-29" if key == "until" else "it with a unit, as in 90d")
            )
    return {key: value for key, (value, _) in read.items()}
