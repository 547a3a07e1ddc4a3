"""Link models and curves of a graph that one task can hold: pairs drawn, described and learnt from without a shuffle.

Stages hand on their rows in files of the graph's store. Each gives the rows, and the models the bytes, of what
predict.links does with tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Row, SparkSession

from graphseam.arrays import distinct
from graphseam.columns import ENDS
from graphseam.parquet import batches_of
from graphseam.predict.calibration import CURVE_SCHEMA, Curves, curves_of, fitted_curves
from graphseam.predict.features import FEATURE_NAMES, LISTED_NAMES, PAIRS, Design, pairs_in, parts_by_pairs
from graphseam.predict.link_model import MODEL_SCHEMA, LinkModel, fit_one, models_by_name
from graphseam.predict.paths import QUERIES_AT_ONCE, PathSearch
from graphseam.predict.ranking import ranked
from graphseam.predict.whole_graph import Graph, WholeGraph
from graphseam.predict.whole_lists import adjacency_of, answered, held_out_of, wanted_lists
from graphseam.predict.whole_plan import for_each, tasks
from graphseam.seeds import uniform_of
from graphseam.whole_pairs import WholeEdges, faced, negatives, sampled

SCORED = ("src", "dst", "fold", "score", "truth")


@dataclass(frozen=True)
class Lesson:
    """What the models of a run learn from. learnt: (how many edges, the seed of the draws); 0 edges: none are drawn.

    paths: how pairs are described. lists: the files of candidate_lists. by_source: weights each node equally.
    """

    whole: WholeGraph
    paths: PathSearch
    learnt: tuple[int, int]
    lists: Sequence[str]
    by_source: bool
    num_tasks: int

    def drawn(self, graph: Graph) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(src, dst, truth): embedded edges, and for each a uniform and a hard pair that is none; each row once."""
        count, seed = self.learnt
        degrees = np.diff(graph.indptr)
        one, other = np.repeat(np.arange(len(graph.ids)), degrees), graph.known.astype(np.int64)
        once = one < other
        edges = WholeEdges(graph.ids, one[once], other[once], np.zeros(0))
        src, dst = sampled(edges, np.ones(len(edges.src), bool), count, seed)
        second = self.whole.second() if self.by_source else None
        if second is not None:
            src, dst = faced(src, dst, second)
        parts = [(src, dst, np.ones(len(src), bool))]
        for _, _, near, far in negatives(edges, src, dst, second, 0, seed):
            parts.append((near, far, np.zeros(len(near), bool)))
        src, dst, truth = (np.concatenate(column) for column in zip(*parts, strict=True))
        _, first = np.unique((src * len(graph.ids) + dst) * 2 + truth, return_index=True)
        return graph.ids[src[first]], graph.ids[dst[first]], truth[first]

    def lay_out(self) -> None:
        """Store the pairs to be described, by src and dst, each once, and what was drawn."""
        graph = self.whole.opened()
        src, dst = (self.whole.column("evaluation_pairs", end) for end in ENDS)
        if self.learnt[0]:
            drawn = self.drawn(graph)
            for name, values in zip(("drawn_src", "drawn_dst", "truth"), drawn, strict=True):
                self.whole.store.put(0, name, values)
            src, dst = np.concatenate([src, drawn[0]]), np.concatenate([dst, drawn[1]])
        keys = distinct(graph.at(src) * np.int64(max(1, len(graph.ids))) + graph.at(dst))
        self.whole.store.put(0, "described", keys)

    def describe(self, task: int) -> None:
        """Store the features of the task's share of the pairs."""
        graph, keys = self.whole.opened(), self.whole.store.get(0, "described")
        src, dst = np.divmod(np.array_split(keys, self.num_tasks)[task], max(1, len(graph.ids)))
        adjacency, parts = adjacency_of(graph, self.paths), []
        nodes, first = np.unique(src, return_index=True)
        ends = np.append(first, len(src))
        for start in range(0, len(nodes), QUERIES_AT_ONCE):
            some = slice(start, min(start + QUERIES_AT_ONCE, len(nodes)))
            bounds = ends[some.start : some.stop + 1]
            wanted = wanted_lists(bounds - bounds[0], graph.ids[dst[bounds[0] : bounds[-1]]])
            lists = answered(graph, adjacency, graph.ids[nodes[some]], wanted, False)
            parts += [pairs_in(part).select(FEATURE_NAMES) for part in parts_by_pairs(lists)]
        _write(self._features(task), parts)

    def fitted(self, designs: dict[str, Design], which: int) -> Iterator[pa.RecordBatch]:
        """Rows of link_model.MODEL_SCHEMA: one of the models, none if it has too few examples."""
        name = list(designs)[which]
        examples = self._pair_examples() if name == PAIRS else self._candidate_examples()
        if examples is not None:
            yield from fit_one(name, designs[name], examples).to_batches()

    def _pair_examples(self) -> pa.Table | None:
        """Rows of features.FEATURES_SCHEMA with truth and weight, of what was drawn."""
        features, store = _read(map(self._features, range(self.num_tasks))), self.whole.store
        if features is None:
            return None
        src, dst, truth = (store.get(0, name) for name in ("drawn_src", "drawn_dst", "truth"))
        drawn = pa.table({"src": src, "dst": dst, "truth": truth})
        examples = features.join(drawn, ["src", "dst"], join_type="inner")
        lower = pc.min_element_wise(examples["src_degree"], examples["dst_degree"])
        # removing the only edge of a node would leave nothing of it
        examples = examples.filter(pc.or_(pc.invert(examples["truth"]), pc.greater(lower, 1)))
        weight = np.where(np.asarray(examples["truth"]), 2.0, 1.0)
        return examples.append_column("weight", pa.array(weight))

    def _candidate_examples(self) -> pa.Table | None:
        """The candidates of the training nodes; neighbours are the true ones."""
        parts = [pairs_in(part).select(FEATURE_NAMES) for part in _lists(self.lists, learning=True)]
        if not parts:
            return None
        examples = pa.Table.from_batches(parts)
        known = np.asarray(examples["known"])
        weight = np.ones(len(known))
        if self.by_source:
            _, own = np.unique(examples["src"].to_numpy(), return_inverse=True)
            weight = 1 / np.maximum(np.bincount(own[known], minlength=own.max() + 1), 1)[own].astype(np.float64)
        return examples.append_column("truth", pa.array(known)).append_column("weight", pa.array(weight))

    def scores(self, model: LinkModel, task: int) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Rows of pair_scores, of the pairs that the task has described."""
        for batch in _batches(self._features(task)):
            columns = [batch["src"], batch["dst"], pa.array(model.scores(batch))]
            yield "pair_scores", pa.RecordBatch.from_arrays(columns, names=["src", "dst", "link_model"])

    def _features(self, task: int) -> Path:
        return Path(self.whole.store.folder, f"features-{task}.arrow")


def fit_whole(spark: SparkSession, lesson: Lesson, designs: dict[str, Design]) -> dict[str, list[dict[str, object]]]:
    """As link_model.fit_link_models, a task per model; describes the pairs for `Lesson.scores` too."""
    describe_whole(spark, lesson)

    def fit(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for which in batch["id"].to_pylist():
                yield from lesson.fitted(designs, which)

    return models_by_name(tasks(spark, len(designs)).mapInArrow(fit, MODEL_SCHEMA).collect())  # a row per term


def describe_whole(spark: SparkSession, lesson: Lesson) -> None:
    """Store the features of all pairs."""
    for_each(spark, 1, lambda _: lesson.lay_out())
    for_each(spark, lesson.num_tasks, lesson.describe)


@dataclass(frozen=True)
class Calibration:
    """What curves are fitted on: predictions of a share of the nodes, with held-out edges as the true ones; or with
    `learning` all candidates of the training nodes, of which their neighbours are the true ones.

    halves, share: (seed) by which nodes belong to either half, and (seed, share) by which they are drawn.
    """

    whole: WholeGraph
    lists: Sequence[str]
    model: LinkModel
    top_k: int
    halves: int
    share: tuple[int, float]
    learning: bool

    def score(self, task: int) -> None:
        """Store the scored pairs of one of the files."""
        graph = self.whole.opened()
        held = self.whole.held_keys(graph)
        seed, share = self.share
        parts = []
        for lists in _lists([self.lists[task]], self.learning):
            chosen = lists
            if share < 1:
                chosen = lists.filter(pa.array(uniform_of(seed, lists["src"].to_numpy()) < share))
            for part in parts_by_pairs(chosen):
                pairs = pairs_in(part)
                if not self.learning:
                    pairs = ranked(pairs, self.model, self.top_k, None, [])
                    score, truth = pairs["score"], held_out_of(graph, pairs, held)
                else:
                    score, truth = pa.array(self.model.scores(pairs)), np.asarray(pairs["known"])
                fold = np.where(uniform_of(self.halves, pairs["src"].to_numpy()) < 0.5, 0, 1).astype(np.int32)
                columns = [pairs["src"], pairs["dst"], pa.array(fold), score, pa.array(truth)]
                parts.append(pa.RecordBatch.from_arrays(columns, names=list(SCORED)))
        _write(self._scored(task), parts)

    def fit(self) -> Iterator[pa.RecordBatch]:
        """Rows of calibration.CURVE_SCHEMA."""
        scored = _read(map(self._scored, range(len(self.lists))))
        if scored is not None:
            yield from fitted_curves(scored).to_batches()

    def _scored(self, task: int) -> Path:
        return Path(self.whole.store.folder, f"scored-{task}.arrow")


def calibrate_whole(spark: SparkSession, calibration: Calibration) -> Curves:
    """As calibration.fit_curves. Cost: one pass over candidate_lists."""
    for_each(spark, len(calibration.lists), calibration.score)

    def fit(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            yield from calibration.fit()

    rows: list[Row] = tasks(spark, 1).mapInArrow(fit, CURVE_SCHEMA).collect()  # at most 600
    return curves_of(rows)


def _lists(files: Sequence[str], learning: bool) -> Iterator[pa.RecordBatch]:
    """Rows of features.LISTS_SCHEMA of the training nodes, or of all nodes, in parts of few pairs."""
    for batch in batches_of(files, LISTED_NAMES):
        chosen = batch["learning"] if learning else pc.invert(batch["learning"])
        yield from parts_by_pairs(batch.filter(chosen))


def _write(path: Path, batches: Sequence[pa.RecordBatch]) -> None:
    """A file of the batches; none if there are none."""
    if batches:
        with pa.ipc.new_file(str(path), batches[0].schema) as writer:
            for batch in batches:
                writer.write_batch(batch)


def _read(paths: Iterable[Path]) -> pa.Table | None:
    """The rows of all of the files that are there; None if there are no rows."""
    batches = [batch for path in paths for batch in _batches(path)]
    return pa.Table.from_batches(batches) if batches else None


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    if path.exists():
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            for place in range(reader.num_record_batches):
                yield reader.get_batch(place)
