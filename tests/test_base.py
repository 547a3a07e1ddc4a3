"""One frame for all days: a run's vectors in the frame of an earlier one, and how far they have moved."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import make_config, run_steps
from graphseam.base_run import base_of
from graphseam.errors import ConfigError, RunError
from graphseam.evaluate import stability
from graphseam.rotation import align
from published import ROOTS

pytestmark = pytest.mark.spark
QUICK = {"predict": {"links": {"top_k": 0}, "similar": {"top_k": 0}}}


@pytest.fixture(scope="module")
def nights(spark, published, tmp_path_factory):
    """(the base, the next day's run): a node is new, an edge is gone, everything else is as it was."""
    folder = tmp_path_factory.mktemp("nights")
    base = published.copied("planted", folder)
    section = {**ROOTS["planted"].write(folder), "edges": str(folder / "next.parquet")}
    edges = pq.read_table(ROOTS["planted"].write(folder)["edges"])
    src, dst = edges.column_names[:2]
    kept = edges.slice(1)
    added = pa.table({src: pa.array([987_654], edges[src].type), dst: edges[dst].slice(5, 1)})
    pq.write_table(pa.concat_tables([kept.select([src, dst]), added]), folder / "next.parquet")
    sections = {
        **ROOTS["planted"].runs[base.run_id],
        **QUICK,
        "run": {**ROOTS["planted"].runs[base.run_id]["run"], "base": "auto"},
    }
    config = make_config(section, folder / "tables", **sections)
    return base, run_steps(spark, config, "next", last="refine")


def vectors_of(run) -> dict[str, np.ndarray]:
    return {row["id"]: np.array(row["vector"]) for row in run.tables.read("embeddings").collect()}


def test_vectors_stay_where_nothing_changed(nights):
    base, run = nights
    rows = run.tables.read("drift").collect()
    assert len(rows) == run.ingested.nodes
    assert {row["base_run_id"] for row in rows} == {base.run_id}
    changes = {row["id"]: row["change"] for row in rows}
    assert [node for node, change in changes.items() if change == "new"] == ["987654"]
    assert (
        2 <= sum(change == "edges" for change in changes.values()) <= 4
    )  # both ends of the lost edge and the new one's
    before, now = vectors_of(base), vectors_of(run)
    for row in rows:
        if row["change"] == "new":
            assert row["cosine"] is None
        elif row["cosine"] is not None:
            one, other = before[row["id"]], now[row["id"]]
            assert row["cosine"] == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-6)
    same = [row["cosine"] for row in rows if row["change"] == "none" and row["cosine"] is not None]
    assert np.mean(np.array(same) > 0.95) > 0.9


def test_the_rotation_is_the_best_one(nights):
    """Turned once more onto the base's vectors by the same method, the vectors stay as they are."""
    base, run = nights
    before, now = vectors_of(base), vectors_of(run)
    same = [row["id"] for row in run.tables.read("drift").where("change = 'none' AND cosine IS NOT NULL").collect()]
    one, other = (np.stack([vectors[node] for node in same]) for vectors in (now, before))
    for start, stop in pairwise(np.cumsum([0, *run.details("refine")["view_widths"]]).tolist()):  # each by itself
        found = align(one[:, start:stop], other[:, start:stop], np.ones(len(one))).rotation
        assert np.allclose(found, np.eye(stop - start), atol=1e-5)
    assert run.details("refine")["base"] == base.run_id
    assert run.details("refine")["anchors"] == len(same)
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(one.shape[1], one.shape[1])))[0]
    cosine = ((one @ turned) * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert abs(cosine.mean()) < 0.4  # what another frame would be worth


def test_stability_is_the_mean_of_drift(nights):
    _, run = nights
    rows = {(row["variant"], row["stratum"]): row for row in stability(run).collect()}
    drift = run.tables.read("drift").where("change = 'none' AND cosine IS NOT NULL").collect()
    told = rows["changed: none", "all"]
    assert told["value"] == pytest.approx(np.mean([max(0, row["cosine"]) for row in drift]), abs=1e-9)
    assert told["support"] == len(drift)
    assert ("changed: new", "all") not in rows


def test_a_base_that_does_not_fit_is_refused(nights):
    base, run = nights
    widths = base.tables.published("view_widths")[0]["view_widths"]
    assert base_of(with_base(run, "auto"), widths) == base.run_id
    assert base_of(with_base(run, ""), widths) is None
    assert base_of(with_base(run, "auto"), [3, 3]) is None
    with pytest.raises(RunError, match=r"'none-such', and no such run is published\.(.*)newer"):
        base_of(with_base(run, "none-such"), widths)
    with pytest.raises(RunError, match=r"views of .* columns, and those of this run \[3, 3\]"):
        base_of(with_base(run, base.run_id), [3, 3])
    with pytest.raises(ConfigError):
        with_base(run, "no/name")


def with_base(run, base: str):
    from dataclasses import replace

    return replace(run, config=replace(run.config, run=replace(run.config.run, base=base)))
