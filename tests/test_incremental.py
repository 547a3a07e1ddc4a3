"""Incremental runs: what has changed is found, subgraphs are kept, and vectors follow their neighbourhoods."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from conftest import arrow_of, make_config, run_steps
from graphseam.base_run import base_to_update
from graphseam.blocks.stages import LocalStages
from graphseam.blocks.store import MemoryStore
from graphseam.errors import ConfigError, RunError
from graphseam.partition.kept import join_neighbours
from graphseam.partition.report import verdict
from graphseam.pipeline import run_step
from graphseam.predict.carried import carried_from_base
from graphseam.progress import StepProgress
from graphseam.publish import require_what_was_written
from graphseam.refine.distributed import ENTRY
from graphseam.refine.incremental import CHANGE, before_changes, keep
from graphseam.refine.rounds import Task
from graphseam.refine.rows import Rows
from graphseam.refine.update import BEFORE, HOPS, TURNS, UPDATED, features_of, update
from graphseam.report.content import _cut_map
from graphseam.summary import print_summary
from published import ROOTS

PREDICTED = {
    "candidate_lists": ("src", "learning"),
    "nearest_nodes": ("node_id",),
    "link_predictions": ("src", "rank"),
    "pair_scores": ("src", "dst"),
}
KEPT = {
    "assignments": ("node_id",),
    "subgraph_edges": ("src", "dst"),
    "border_edges": ("src", "dst"),
    "edge_changes": ("src", "dst"),
}


def both_directions(edges: dict[tuple[int, int], float]) -> np.ndarray:
    """Entries of both directions in block 0, as refinement packs them."""
    rows = [(a, b, 0, w) for (one, two), w in edges.items() for a, b in ((one, two), (two, one))]
    return np.array(rows, ENTRY) if rows else np.zeros(0, ENTRY)


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_changes_lead_back_to_the_base(seed, directed):
    rng = np.random.default_rng(seed)

    def graph() -> dict[tuple[int, int], float]:
        pairs = [tuple(pair) for pair in rng.integers(0, 8, (int(rng.integers(0, 30)), 2)).tolist()]
        pairs = [pair if directed else tuple(sorted(pair)) for pair in pairs if pair[0] != pair[1]]
        return {pair: float(rng.choice([1.0, 0.1, 1e6, rng.random()])) for pair in pairs}

    before = graph()
    now = {pair: weight for pair, weight in before.items() if rng.random() < 0.7} | (graph() if seed % 4 else {})
    changed = [pair for pair in {**before, **now} if before.get(pair) != now.get(pair)]
    rows = [(a, b, 0, before.get(pair, 0.0), now.get(pair, 0.0)) for pair in changed for a, b in (pair, pair[::-1])]
    found = before_changes(both_directions(now), np.array(rows, CHANGE) if rows else np.zeros(0, CHANGE))
    wanted: dict[tuple[int, int], float] = {}
    for entry in both_directions(before):
        key = (int(entry["src"]), int(entry["dst"]))
        wanted[key] = wanted.get(key, 0.0) + float(entry["weight"])
    told: dict[tuple[int, int], float] = {}
    for entry in found:  # a pair that has not changed may have an entry from either of its edges
        key = (int(entry["src"]), int(entry["dst"]))
        told[key] = told.get(key, 0.0) + float(entry["weight"])
    assert told.keys() == wanted.keys()
    assert told == pytest.approx(wanted)


def test_new_nodes_join_the_subgraph_they_have_the_heaviest_edges_to():
    arcs = [
        (10, 1, 1.0, 3), (10, 2, 1.5, 4), (10, 5, 1.0, 3),  # 3 weighs more in all
        (11, 1, 1.0, 3), (11, 2, 1.0, 2),  # a tie: the lower number
        (12, 10, 9.0, None), (12, 1, 1.0, 5),  # 10 is new too, and 5 is there in the first round
        (13, 12, 1.0, None), (12, 13, 1.0, None), (14, 13, 1.0, None), (13, 14, 1.0, None),  # follow 12
        (15, 16, 1.0, None), (16, 15, 1.0, None),  # reach nothing
    ]  # fmt: skip
    for order in (arcs, arcs[::-1]):
        columns = zip(*order, strict=True)
        types = (pa.int64(), pa.int64(), pa.float64(), pa.int32())
        table = pa.table(
            [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)],
            names=["node_id", "other", "weight", "home"],
        )
        found = join_neighbours(table)
        homes = dict(zip(found["node_id"].to_pylist(), found["subgraph_id"].to_pylist(), strict=True))
        assert homes == {10: 3, 11: 2, 12: 5, 13: 5, 14: 5}
    assert len(join_neighbours(table.slice(0, 0))) == 0


def test_it_needs_a_base():
    from graphseam.config import config_of

    with pytest.raises(ConfigError, match=r"run\.incremental.*run\.base"):
        config_of({"input": {"edges": "e"}, "output": {"root": "r"}, "run": {"incremental": True}})


@pytest.fixture(scope="module")
def story(spark, published, tmp_path_factory):
    """(the base, the incremental run, its configuration): six edges are gone, nodes and edges have come."""
    folder = tmp_path_factory.mktemp("incremental")
    base = published.copied("planted", folder)
    edges = pq.read_table(ROOTS["planted"].write(folder)["edges"])
    src, dst = edges.column_names[:2]
    kept = edges.select([src, dst]).slice(6)
    ends = edges[dst].to_pylist()
    new = [(987_654, ends[0]), (987_654, ends[40]), (987_655, 987_654), (ends[3], ends[90])]
    added = pa.table(
        {src: pa.array([a for a, _ in new], edges[src].type), dst: pa.array([b for _, b in new], edges[dst].type)}
    )
    pq.write_table(pa.concat_tables([kept, added]), folder / "next.parquet")
    sections = ROOTS["planted"].runs[base.run_id]
    sections = {**sections, "run": {**sections["run"], "base": "auto", "incremental": True}}
    config = make_config({"edges": str(folder / "next.parquet")}, folder / "tables", **sections)
    return base, run_steps(spark, config, "next"), config


def edges_of(run) -> dict[tuple[int, int], float]:
    return {(row["src"], row["dst"]): row["weight"] for row in run.tables.read("edges").collect()}


def vectors_of(run) -> dict[int, np.ndarray]:
    return {row["node_id"]: np.array(row["vector"], np.float32) for row in run.tables.read("embeddings").collect()}


@pytest.mark.spark
def test_every_changed_edge_is_told_and_no_other(story):
    base, run, _ = story
    before, now = edges_of(base), edges_of(run)
    rows = {(row["src"], row["dst"]): row for row in run.tables.read("edge_changes").collect()}
    assert rows.keys() == {pair for pair in before.keys() | now.keys() if before.get(pair) != now.get(pair)}
    for pair, row in rows.items():
        assert (row["base_weight"], row["weight"]) == (before.get(pair), now.get(pair))
        assert row["change"] == ("removed" if pair not in now else "new" if pair not in before else "weight")
    counts = run.details("partition")["changes"]
    assert counts["new_edges"] == len(now.keys() - before.keys())
    assert counts["removed_edges"] == len(before.keys() - now.keys())
    assert counts["new_nodes"] == 2


@pytest.mark.spark
def test_nodes_stay_in_their_subgraphs_and_nothing_is_embedded(story):
    base, run, _ = story

    def homes(one) -> dict[int, int]:
        rows = one.tables.read("assignments", level=1).collect()
        return {row["node_id"]: row["subgraph_id"] for row in rows}

    old, new = homes(base), homes(run)
    nodes = {row["node_id"] for row in run.tables.read("nodes").collect()}
    assert new.keys() == nodes
    assert all(old[node] == home for node, home in new.items() if node in old)
    inside, cut = (run.tables.read(name, level=1).count() for name in ("subgraph_edges", "border_edges"))
    assert inside + cut == run.ingested.edges
    for table in ("subgraph_embeddings", "fused_embeddings", "subgraph_stats"):
        assert run.tables.read(table).count() == 0
    assert run.details("partition")["kept_from"] == run.details("embed")["kept_from"] == base.run_id
    assert run.tables.read("runs").count() == 1
    (level,) = run.tables.read("partition_levels").collect()
    assert "of the base run" in verdict([level])
    assert level["imbalance"] >= 1
    drawn = _cut_map(run, [level.asDict()])
    assert drawn is not None
    assert sum(drawn.nodes.values()) == run.ingested.nodes
    assert sum(drawn.between.values()) == cut


@pytest.mark.spark
def test_one_task_keeps_what_joins_keep(spark, story):
    base, run, config = story
    assert run.tables.read("assignments").where("subgraph_id > 0").count()  # there is more than one subgraph
    settings = replace(config.run, base=base.run_id, in_one_task=False)
    joined = run_steps(spark, replace(config, run=settings), "joined", last="partition")
    for name, order in KEPT.items():
        mine, others = (arrow_of(one.tables.read(name).sort(*order)) for one in (run, joined))
        assert mine.num_rows
        assert mine.equals(others), name
    mine, others = (one.tables.read("partition_levels").drop("seconds").collect() for one in (run, joined))
    assert mine == others
    mine, others = ({**one.details("partition"), "usage": None} for one in (run, joined))
    assert mine == others


@pytest.mark.spark
def test_the_summary_says_what_has_changed(story):
    base, run, _ = story
    shown = StringIO()
    print_summary(run, Console(file=shown, width=300))
    counts = run.details("partition")["changes"]
    assert f"Changes  since {base.run_id}: {counts['new_edges']} edges are new, " in shown.getvalue()
    assert "2 nodes are new" in shown.getvalue()


@pytest.mark.spark
def test_a_vector_moves_only_within_reach_of_a_change(story):
    base, run, _ = story
    before, now = vectors_of(base), vectors_of(run)
    assert all(np.isfinite(vector).all() for vector in now.values())
    drift = {row["node_id"]: row for row in run.tables.read("drift").collect()}
    assert drift.keys() == now.keys()
    graph = nx.Graph([*edges_of(base), *edges_of(run)])
    touched = {end for row in run.tables.read("edge_changes").collect() for end in (row["src"], row["dst"])}
    near = set(nx.multi_source_dijkstra_path_length(graph, touched, cutoff=HOPS * TURNS))
    for node, vector in now.items():
        if node not in near:
            assert vector.tobytes() == before[node].tobytes()
        assert drift[node]["change"] == ("new" if node not in before else "edges" if node in touched else "none")
    moved = [drift[node]["cosine"] for node in touched if node in before and node in now]
    assert any(cosine is not None and cosine < 0.9999 for cosine in moved)
    assert run.details("refine")["fit"] > 0.8
    lengths = [np.linalg.norm(now[node]) for node in now.keys() - before.keys()]
    assert np.allclose(lengths, 2.0, atol=1e-4)  # new nodes have vectors like all others


@pytest.mark.spark
def test_an_updated_vector_is_nearly_that_of_a_full_run(spark, story):
    """Neighbours are as near as after refinement over everything, in the same frame."""
    _, run, config = story
    full = run_steps(spark, replace(config, run=replace(config.run, incremental=False, base="newer")), "full", "refine")
    one, other = vectors_of(run), vectors_of(full)
    nodes = [node for node in one if one[node].any() and other[node].any()]

    def nearness(vectors: dict[int, np.ndarray]) -> np.ndarray:
        unit = {node: vectors[node] / np.linalg.norm(vectors[node]) for node in nodes}
        return np.array([unit[a] @ unit[b] for a, b in edges_of(run)])

    assert abs(nearness(one).mean() - nearness(other).mean()) < 0.05
    cosines = [one[node] @ other[node] / np.linalg.norm(one[node]) / np.linalg.norm(other[node]) for node in nodes]
    assert np.mean(cosines) > 0.8


@pytest.mark.spark
def test_neither_the_number_of_blocks_shows_nor_how_they_got_their_rows(story):
    from graphseam.base_run import base_named
    from graphseam.refine.incremental import updated_by_blocks

    base, run, config = story
    wanted = {node: vector.tobytes() for node, vector in vectors_of(run).items()}
    for num_blocks, from_files in ((1, True), (5, True), (5, False)):
        settings = {
            "refine": replace(config.refine, num_blocks=num_blocks),
            "run": replace(config.run, in_one_task=from_files),  # else their rows are shuffled to the blocks
        }
        other = replace(run, config=replace(config, **settings))
        with updated_by_blocks(other, base_named(other, base.run_id)) as found:
            assert (found.blocks > 1) == (num_blocks > 1)
            rows = found.rows("embeddings", run.tables.schema("embeddings")).frame().collect()
        assert {row["node_id"]: np.array(row["vector"], np.float32).tobytes() for row in rows} == wanted


@pytest.mark.spark
def test_a_base_that_cannot_be_kept_is_left_with_the_reason(spark, story, monkeypatch):
    _, run, config = story
    some = run.config.input
    edges = pq.read_table(some.edges)
    path = some.edges.replace("next", "less")
    pq.write_table(edges.slice(0, edges.num_rows // 3), path)
    for place, (changed, most_lost, why) in enumerate(
        (
            (replace(config, fuse=replace(config.fuse, method="concat")), 0.05, "no published run has these settings"),
            (replace(config, input=replace(some, edges=path)), 0.05, r"of .* nodes have changed since next"),
            (config, -1.0, "its subgraphs captured .* of the edges when they were cut, and now "),  # found out late
        )
    ):
        monkeypatch.setattr("graphseam.partition.kept.MOST_LOST", most_lost)
        other = run_steps(spark, changed, f"cut-{place}", last="partition")
        told = other.details("partition")
        assert "kept_from" not in told
        assert re.search(why, told["cut_anew"])
        assert other.tables.read("subgraph_edges").count() > 0
        assert other.tables.read("edge_changes").count() == 0
        assert other.tables.read("assignments", level=1).count() == other.ingested.nodes
        require_what_was_written(other)


@pytest.mark.spark
def test_a_base_with_ids_of_another_type_is_none(story):
    """Numbers of nodes mean others then."""
    base, run, config = story
    records = [dict(record) for record in run.records]
    for record in records:
        if record["step"] == "ingest":
            record["details"] = record["details"].replace('"integer"', '"string"')
    other = replace(run, records=records)
    assert base_to_update(other) == "no run with string ids is published yet"
    named = replace(other, config=replace(config, run=replace(config.run, base=base.run_id)))
    with pytest.raises(RunError, match="whose ids are of type integer, and those of this input string"):
        base_to_update(named)


@pytest.mark.spark
def test_settled_nodes_take_their_answers_over(spark, story, monkeypatch):
    """The same as if all had asked anew, up to what moved by less than counts; and the same bytes in several tasks."""
    _, run, config = story
    settled = set(run.tables.read("drift").where("change = 'none' AND cosine >= 0.999").toPandas()["node_id"])
    assert 10 < len(settled) < run.ingested.nodes  # the test is about both kinds of nodes
    found = {name: arrow_of(run.tables.read(name).sort(*order)) for name, order in PREDICTED.items()}
    one = replace(run, config=config)
    monkeypatch.setattr("graphseam.predict.link_search.whole_graph", lambda *_: None)
    run_step(one, "predict_links", StepProgress(total=1))
    for name, order in PREDICTED.items():
        assert arrow_of(one.tables.read(name).sort(*order)).equals(found[name]), name
    monkeypatch.setattr("graphseam.predict.link_search.carried_from_base", lambda *_: None)
    run_step(one, "predict_links", StepProgress(total=1))
    anew = arrow_of(one.tables.read("candidate_lists").where("NOT learning").sort("src"))
    mine = found["candidate_lists"].filter(pc.invert(found["candidate_lists"]["learning"]))
    wanted, told = (dict(zip(t["src"].to_pylist(), t["dst"].to_pylist(), strict=True)) for t in (anew, mine))
    assert wanted.keys() == told.keys()
    share = [len(set(wanted[src]) & set(told[src])) / max(1, len(wanted[src])) for src in wanted]
    assert np.mean(share) > 0.97
    nodes = {row["node_id"] for row in run.tables.read("nodes").collect()}
    known = edges_of(run)
    for src, others in told.items():  # nothing vanished, and no neighbour, is predicted
        assert set(others) <= nodes
        assert not any((min(src, dst), max(src, dst)) in known for dst in others)


@pytest.mark.spark
def test_answers_are_taken_over_only_from_the_same_search(story):
    _, run, config = story
    methods = run.details("predict_links")["candidates"]
    assert carried_from_base(run, methods, 4) is not None
    assert carried_from_base(run, methods, 0) is None
    assert carried_from_base(run, "two_hop", 4) is None
    links = replace(config.predict.links, top_k=config.predict.links.top_k + 1)
    other = replace(run, config=replace(config, predict=replace(config.predict, links=links)))
    assert carried_from_base(other, methods, 4) is None


@pytest.mark.spark
def test_links_are_looked_for_in_the_cells_of_the_base_and_scored_by_its_models(story, monkeypatch):
    """Where nodes are searched in cells: the run and its base again, in that way."""
    monkeypatch.setattr("graphseam.predict.search_plan.NODES_PER_CELL", 30)
    base, run, config = story
    links = replace(config.predict.links, candidates="cells+two_hop")
    chosen = replace(config.predict, links=links)
    runs = [replace(one, config=replace(one.config, predict=chosen), records=[*one.records]) for one in (base, run)]
    for one in runs:
        run_step(one, "predict_links", StepProgress(total=1))
    for table in ("search_cells", "link_models", "link_calibration"):
        old, new = (arrow_of(one.tables.read(table).drop("run_id")) for one in runs)
        assert old.num_rows > 1
        assert sorted(map(str, old.to_pylist())) == sorted(map(str, new.to_pylist())), table
    assert runs[1].details("predict_links")["calibrated_on"] == f"run {base.run_id}"
    rows = runs[1].tables.read("search_recall").where("step = 'predict_links'").collect()
    assert [row["recall"] >= 0.95 for row in rows] == [True]
    assert runs[1].tables.read("candidate_lists").where("learning").count() == 0
    predicted = arrow_of(runs[1].tables.read("link_predictions"))
    assert predicted.num_rows > run.ingested.nodes
    assert pc.all(pc.less_equal(predicted["probability"], 1)).as_py()
    for one in runs:
        assert_cells_are_the_nearest(one)


def assert_cells_are_the_nearest(run) -> None:
    """Those that a base has told as well; and the next cell is at least a margin farther."""
    cells = run.tables.read("search_cells").sort("cell").collect()
    assert cells[0]["found_gap"] == 0  # else nodes are found in several cells, and none are kept
    vectors, rows = vectors_of(run), run.tables.read("node_cells").collect()
    assert len(rows) > 0.9 * run.ingested.nodes
    for row in rows:
        vector = vectors[row["node_id"]].astype(np.float64)
        angles = np.arccos(np.clip([vector @ cell["centroid"] / np.linalg.norm(vector) for cell in cells], -1, 1))
        nearest, second = np.argsort(angles)[:2]
        assert row["cell"] == nearest
        assert -1e-3 < row["margin"] <= angles[second] - angles[nearest] + 1e-3


@pytest.mark.spark
def test_vectors_that_do_not_follow_from_neighbourhoods_are_refined_from_the_base(story, monkeypatch):
    """The last test of the story: it writes the run's vectors anew."""
    base, run, config = story
    monkeypatch.setattr("graphseam.refine.incremental.LEAST_FIT", 2.0)
    one = replace(run, config=config)
    run_step(one, "refine", StepProgress(total=1))
    details = one.details("refine")
    assert "fit" not in details
    assert details["base"] == base.run_id
    vectors = vectors_of(one)
    assert len(vectors) == run.ingested.nodes
    assert sum(vector.any() for vector in vectors.values()) > 0.9 * len(vectors)
    assert one.tables.read("drift").count() == len(vectors)


def test_threads_do_not_show_in_updated_vectors():
    """Over more nodes than are corrected at once; those without a change within six edges keep their vectors."""
    rng, num_nodes, dim = np.random.default_rng(5), 30_000, 8
    pairs = np.unique(np.sort(rng.integers(0, num_nodes, (20_100, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    gone, pairs = pairs[:100], pairs[100:]
    entries, changes = both_ways(pairs, ENTRY, weight=1), both_ways(pairs[:100], CHANGE, now=1)
    changes = np.concatenate([changes, both_ways(gone, CHANGE, before=1)])
    nodes, start, found = np.arange(num_nodes), rng.normal(size=(num_nodes, dim)).astype(np.float32), []
    for threads in (1, 3):
        store = MemoryStore()
        keep(0, store, (nodes, nodes), entries, changes, lambda: start)
        update(LocalStages(1), Task(store, (), threads, "cpu"), dim, 1.0, seed=2)
        found.append(store.get(0, UPDATED))
    np.testing.assert_array_equal(found[0], found[1])
    has_edge = np.bincount(pairs.ravel(), minlength=num_nodes) > 0
    moved = (found[0] != np.where(has_edge[:, None], start, 0)).any(axis=1)
    assert 200 < moved.sum() < num_nodes / 2
    task, some, then = Task(store, (), 1, "cpu"), nodes[::7], Rows.kept(0, store, BEFORE)
    # as a GPU makes them, all at once
    by_loop, by_product = (features_of(0, task, then, BEFORE, device)(some) for device in ("cpu", "cuda:0"))
    assert len(by_loop) == len(by_product) == HOPS
    np.testing.assert_allclose(by_product, by_loop, atol=1e-5)


def both_ways(pairs: np.ndarray, kind: np.dtype, **values: float) -> np.ndarray:
    """Entries of each pair from both of its ends."""
    entries = np.zeros(2 * len(pairs), kind)
    entries["src"], entries["dst"] = np.concatenate([pairs, pairs[:, ::-1]]).T
    for name, value in values.items():
        entries[name] = value
    return entries
