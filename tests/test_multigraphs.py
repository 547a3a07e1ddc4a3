"""Laws of a whole run over random multigraphs: dirt, loops, parallel edges, weights, labels, held-out edges."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import make_config, run_steps

pytestmark = pytest.mark.thorough

GOOD = st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "ä", "0", "1", "01", "x y", "é'", "NULL", "nan"])
END = st.one_of(GOOD, GOOD, GOOD, st.just(""))
WEIGHT = st.sampled_from(["1", "2.5", "1e-3", "1e6", "-1", "nan", ""])
ROWS = st.lists(st.tuples(END, END, WEIGHT), min_size=4, max_size=60)


def usable(row: tuple[str, str, str], weighted: bool) -> bool:
    return bool(row[0] and row[1]) and (not weighted or row[2] in ("1", "2.5", "1e-3", "1e6"))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ROWS.filter(lambda rows: any(usable(row, weighted=True) for row in rows)),
    weighted=st.booleans(),
    directed=st.booleans(),
    held_out=st.sampled_from([0.0, 0.3]),
    subgraphs=st.sampled_from([0, 2, 3]),
    in_one_task=st.booleans(),
)
def test_every_row_is_accounted_for_and_every_node_has_a_vector(
    spark, rows, weighted, directed, held_out, subgraphs, in_one_task
):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "edges.csv").write_text("src,dst,weight\n" + "".join(f'"{a}","{b}",{w}\n' for a, b, w in rows))
        ids = sorted({end for row in rows if usable(row, weighted) for end in row[:2]})
        labels = [(node, f"l{place % 2}") for place, node in enumerate(ids)]
        (folder / "labels.csv").write_text("node,label\n" + "".join(f'"{node}",{label}\n' for node, label in labels))
        given_input = {
            "edges": str(folder / "edges.csv"),
            "labels": str(folder / "labels.csv"),
            "id_type": "string",
            "directed": directed,
            **({"weight": "weight"} if weighted else {}),
        }
        config = make_config(
            given_input,
            folder / "tables",
            run={"in_one_task": in_one_task},
            partition={"num_subgraphs": subgraphs},
            embed={"dim": 4},
            evaluate={"holdout": held_out},
            predict={"links": {"top_k": 2}, "similar": {"top_k": 2}},
        )
        check(run_steps(spark, config, "r"), [row for row in rows if usable(row, weighted)], len(rows), directed)


def check(run, good: list[tuple[str, str, str]], num_rows: int, directed: bool) -> None:
    told = run.ingested
    assert told.rows == num_rows
    assert sum(told.rejected.values()) == num_rows - len(good) == run.tables.read("rejected_rows").count()
    loops = sum(a == b for a, b, _ in good)
    pairs = {(a, b) if directed else tuple(sorted((a, b))) for a, b, _ in good if a != b}
    assert (told.loops, told.edges + told.holdout_edges) == (loops, len(pairs))
    assert told.duplicate_edges == len(good) - loops - len(pairs)
    ids = {row["node_id"]: row["id"] for row in run.tables.read("nodes").collect()}
    assert sorted(ids.values()) == sorted({end for row in good for end in row[:2]})
    vectors = run.tables.read("embeddings").collect()
    assert sorted(row["id"] for row in vectors) == sorted(ids.values())
    assert np.isfinite([row["vector"] for row in vectors]).all()
    known = {frozenset((row["src"], row["dst"])) for row in run.tables.read("edges").collect()}
    for row in run.tables.read("link_predictions").collect():
        assert row["src"] != row["dst"]
        assert frozenset((row["src_node_id"], row["dst_node_id"])) not in known
        assert 0 <= row["probability"] <= 1
    assert run.tables.read("runs").count() == 1
