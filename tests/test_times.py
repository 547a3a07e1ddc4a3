"""Edges with a time: the window, fading weights, and every way in which times are written."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import make_config, run_steps
from graphseam.config import load_config
from graphseam.errors import ConfigError, InputError
from graphseam.ingest.times import within_window
from graphseam.sections import InputConfig

LAST = datetime.datetime(2026, 11, 29, tzinfo=datetime.timezone.utc)
AGES = [0, 1, 29.5, 30, 31, 90, 4000]  # days before LAST


def moments() -> list[datetime.datetime]:
    return [LAST - datetime.timedelta(days=age) for age in AGES]


WRITTEN = {
    "seconds": pa.array([int(moment.timestamp()) for moment in moments()]),
    "numbers in text": pa.array([str(moment.timestamp()) for moment in moments()]),
    "ISO text": pa.array([moment.isoformat() for moment in moments()]),
    "timestamps": pa.array(moments(), pa.timestamp("us", "UTC")),
    "timestamps without zone": pa.array([moment.replace(tzinfo=None) for moment in moments()], pa.timestamp("us")),
}


def timed(spark, folder, times: pa.Array, weights: list[float] | None = None, **settings: str):
    """(rows by number, what within_window says) of one row per time, its number as src."""
    folder.mkdir(exist_ok=True)
    numbers = list(range(len(times)))
    table = {"src": numbers, "dst": numbers, "weight": weights or [1.0] * len(times), "time": times}
    pq.write_table(pa.table({**table, "reason": pa.array([None] * len(times), pa.string())}), folder / "rows.parquet")
    rows = spark.read.parquet(str(folder / "rows.parquet"))
    found = within_window(rows, InputConfig(edges="edges", time="time", **settings))
    return {row["src"]: row for row in found.rows.collect()}, found


@pytest.mark.parametrize("written", WRITTEN)
def test_the_window_is_the_same_however_times_are_written(spark, tmp_path, written):
    rows, found = timed(spark, tmp_path, WRITTEN[written], window="30d")
    assert sorted(rows) == [0, 1, 2]
    assert found.read == len(AGES)
    rows, _ = timed(spark, tmp_path, WRITTEN[written], window="4w", until="2026-11-28T12:00:00Z")
    assert sorted(rows) == [1]


def test_dates_are_midnights(spark, tmp_path):
    dates = pa.array([datetime.date(2026, 11, day) for day in (1, 27, 28, 29)])
    rows, found = timed(spark, tmp_path, dates, window="2d")
    assert sorted(rows) == [2, 3]
    assert found.until == "2026-11-29T00:00:00+00:00"


def test_weights_halve_with_each_half_life_and_never_vanish(spark, tmp_path):
    rows, _ = timed(spark, tmp_path, WRITTEN["seconds"], [2.0] * len(AGES), half_life="30d")
    for number, age in enumerate(AGES):
        assert rows[number]["weight"] == pytest.approx(2.0 * 2.0 ** -min(age / 30, 40))
        assert rows[number]["weight"] > 0


def test_numbers_of_any_unit_take_numbers(spark, tmp_path):
    rows, found = timed(spark, tmp_path, pa.array([1999, 2004, 2008, 2010]), window="5", half_life="2")
    assert {number: row["weight"] for number, row in rows.items()} == {2: 0.5, 3: 1.0}
    assert found.until == "2010.0"


def test_times_that_are_none_are_rejected_with_the_reason(spark, tmp_path):
    times = pa.array(["2026-11-29", "yesterday", None, " ", "2026-11-28", "17"])
    rows, _ = timed(spark, tmp_path, times, window="90d")
    assert {number: row["reason"] for number, row in rows.items()} == {
        0: None,
        1: "time is not a date or time",
        2: "time is missing",
        3: "time is missing",
        4: None,
        5: "time is not a date or time",
    }
    rows, _ = timed(spark, tmp_path, pa.array([1.0, float("nan"), float("inf"), 3.0]))
    assert [rows[number]["reason"] for number in range(4)] == [None, *["time is not a number"] * 2, None]


@pytest.mark.parametrize(
    ("times", "settings", "said"),
    [
        (
            [1_764_374_400_000],
            {"window": "90d"},
            "cannot be seconds since 1970; give a number in the column's own unit",
        ),
        ([2010], {"half_life": "30d"}, "go up to 2,010, which cannot be seconds"),
        ([2010], {"until": "2026-11-29"}, "input.until is '2026-11-29'"),
        (["2026-11-29"], {"window": "5"}, "holds dates or times; give it with a unit, as in 90d"),
        (["2026-11-29"], {"until": "5"}, "give a date or time, as in 2026-11-29"),
    ],
)
def test_units_that_do_not_fit_are_refused(spark, tmp_path, times, settings, said):
    with pytest.raises(InputError, match=said):
        timed(spark, tmp_path, pa.array(times), **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"window": "90d"}, "input.window is '90d'; give input.time too"),
        ({"time": "t", "window": "90 years"}, "give a number above 0 with a unit"),
        ({"time": "t", "half_life": "0d"}, "input.half_life is '0d'"),
        ({"time": "t", "until": "tomorrow"}, "input.until is 'tomorrow'; give a date or time"),
        ({"time": "t", "until": "nan"}, "input.until is 'nan'; give a date or time"),
        ({"time": "t", "until": "1e999"}, "input.until is '1e999'; give a date or time"),
        ({"time": "t", "window": "9" * 400}, "give a number above 0 with a unit"),
    ],
)
def test_settings_are_checked_before_anything_is_read(settings, said):
    with pytest.raises(ConfigError, match=said):
        InputConfig(edges="edges", **settings)


def test_a_log_of_events_becomes_a_graph_of_its_window(spark, tmp_path):
    """Repeated events add up with what is left of their weights; a node with old events only is no node."""
    lines = [
        "who,whom,at",
        "a,b,2026-11-29",
        "b,a,2026-10-30",
        "a,c,2026-11-29",
        "c,d,2019-01-01",
        "a,d,",
        "e,a,2027-01-01",
    ]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    section = {
        "edges": str(tmp_path / "log.csv"),
        "src": "who",
        "dst": "whom",
        "time": "at",
        "window": "90d",
        "half_life": "30d",
        "until": "2026-11-29",
    }
    run = run_steps(spark, make_config(section, tmp_path / "tables"), "log", last="ingest")
    ids = {row["node_id"]: row["id"] for row in run.tables.read("nodes").collect()}
    edges = {(ids[row["src"]], ids[row["dst"]]): row["weight"] for row in run.tables.read("edges").collect()}
    assert edges == {("a", "b"): 1.5, ("a", "c"): 1.0}
    told = run.details("ingest")
    assert (told["rows"], told["rows_outside"], told["rejected"]) == (6, 2, {"edges: time is missing": 1})
    assert told["until"] == "2026-11-29T00:00:00+00:00"

    with pytest.raises(InputError, match=r"6 read; 5 outside input.window and input.until; most often: edges: time is"):
        run_steps(
            spark, make_config({**section, "until": "1999-01-01"}, tmp_path / "tables"), "too-early", last="ingest"
        )


def test_dates_and_numbers_need_no_quotes(tmp_path):
    file = tmp_path / "log.toml"
    file.write_text("[input]\nedges = 'e'\ntime = 2\nuntil = 2026-11-29\nhalf_life = 2.5\n[output]\nroot = 'r'\n")
    given = load_config(file, ["input.window=90", "input.until=2026-11-28"]).input
    assert (given.time, given.until, given.half_life, given.window) == ("2", "2026-11-28", "2.5", "90")
    assert load_config(file).input.until == "2026-11-29"
