"""What cutting costs: the default algorithms on each graph with 1, 4, 16 and 64 subgraphs, scored by the referee.

    .venv/bin/python tests/bench/seams.py blogcatalog ppi --subgraphs 1 4 16 64 --seeds 1 2 3
    .venv/bin/python tests/bench/seams.py cora --subgraphs 16 --variants default unrefined concat

The library's own partitioner, budget, embedder, rotation and refiner, level by level as the pipeline calls them, but in
one process without tables, so that a table of hundreds of cases takes an hour (tests/bench/quality.py runs the pipeline
itself). A seed is that of the split and of the embedding. Variants: `default`; `unrefined`, the frame alone; `concat`,
DistNE's way, unrefined; `prone`, ProNE on the uncut graph; or a setting of the refiner, as rounds=3,tolerance=0.02.
One line a case, tab-separated: graph, task, subgraphs, seed, variant, seconds, figures x 100.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conftest import SHARED
from graphseam.embedding.prone import ProneEmbedder
from graphseam.fuse.concat import level_widths
from graphseam.graph import Graph
from graphseam.partition.budget import Budget
from graphseam.partition.metis import MetisPartitioner
from graphseam.refine.spectral import SpectralRefiner
from graphseam.rotation import align
from graphseam.seeds import derive_seed

DIM, MIN_CAPTURED, MAX_LEVELS = 128, 0.2, 6


def cut_levels(graph: Graph, num_subgraphs: int, seed: int) -> list[list[Graph]]:
    """The subgraphs of each level, as graphseam.partition cuts them."""
    embedder = ProneEmbedder(dim=DIM)
    budget = Budget.of(num_subgraphs, 0, graph.num_edges, 1 << 40, 1 << 40, embedder.predict_bytes, 0.05)
    levels: list[list[Graph]] = []
    share = 1.0
    while graph.num_edges and len(levels) < MAX_LEVELS:
        level = len(levels) + 1
        count = budget.cut(level, graph.num_nodes, graph.num_edges).num_subgraphs
        if count == 1:
            return [*levels, [graph]]
        if levels and (share < MIN_CAPTURED or level == MAX_LEVELS):
            return [*levels, [core(graph, budget.border_edges)]]
        parts = MetisPartitioner().partition(graph, count, derive_seed(seed, "partition", level))
        entries = graph.adjacency.tocoo()
        once = entries.row < entries.col
        src, dst, weight = entries.row[once], entries.col[once], entries.data[once]
        inside = parts[src] == parts[dst]

        def of(chosen: np.ndarray, graph=graph, src=src, dst=dst, weight=weight) -> Graph:
            return Graph.from_edges(graph.node_ids[src[chosen]], graph.node_ids[dst[chosen]], weight[chosen])

        levels.append([of(inside & (parts[src] == part)) for part in range(count)])
        share, graph = inside.mean(), of(~inside)
    return levels


def core(graph: Graph, max_edges: int) -> Graph:
    """The edges between the nodes of highest degree."""
    entries = graph.adjacency.tocoo()
    once = np.flatnonzero(entries.row < entries.col)
    ends = np.diff(graph.adjacency.indptr)
    rank = np.argsort(-np.minimum(ends[entries.row[once]], ends[entries.col[once]]), kind="stable")[:max_edges]
    chosen = once[rank]
    return Graph.from_edges(
        graph.node_ids[entries.row[chosen]], graph.node_ids[entries.col[chosen]], entries.data[chosen]
    )


def embedded(levels: list[list[Graph]], seed: int) -> list[list[tuple[Graph, np.ndarray]]]:
    embedder, numbers = ProneEmbedder(dim=DIM), itertools.count()
    return [
        [
            (graph, embedder.embed(graph, derive_seed(seed, "embed", next(numbers)), "cpu"))
            for graph in level
            if graph.num_edges
        ]
        for level in levels
    ]


def fused(levels: list[list[tuple[Graph, np.ndarray]]], num_nodes: int) -> np.ndarray:
    """Every subgraph rotated into the frame, the deepest level first; a node's vectors averaged by degree."""
    frame, frame_degrees = np.zeros((num_nodes, DIM)), np.zeros(num_nodes)
    for level in reversed(levels):
        placed, degrees = frame.copy(), frame_degrees.copy()
        for graph, vectors in level:
            ids, own = graph.node_ids, graph.degrees
            shared = frame_degrees[ids] > 0
            found = align(vectors[shared], frame[ids[shared]], np.minimum(own, frame_degrees[ids])[shared])
            part = own / np.maximum(own + frame_degrees[ids], 1e-300)
            placed[ids] = part[:, None] * (vectors @ found.rotation) + (1 - part)[:, None] * frame[ids]
            degrees[ids] = own + frame_degrees[ids]
        frame, frame_degrees = placed, degrees
    return frame.astype(np.float32)


def concatenated(levels: list[list[tuple[Graph, np.ndarray]]], num_nodes: int) -> np.ndarray:
    found = []
    for level, width in zip(levels, level_widths(DIM, len(levels)), strict=True):
        columns = np.zeros((num_nodes, width), np.float32)
        for graph, vectors in level:
            columns[graph.node_ids] = vectors[:, :width]
        found.append(columns)
    return np.concatenate(found, axis=1)


def vectors_of(graph: Graph, num_subgraphs: int, seed: int, variants: list[str]) -> dict[str, tuple[np.ndarray, float]]:
    """{variant: (vectors, seconds from the edges)}."""
    started = time.monotonic()
    levels = embedded(cut_levels(graph, num_subgraphs, seed), seed)
    frame = fused(levels, graph.num_nodes)
    begun_s, found = time.monotonic() - started, {}
    for variant in variants:
        started = time.monotonic()
        if variant == "concat":
            vectors = concatenated(levels, graph.num_nodes)
        elif variant == "prone":
            vectors = ProneEmbedder(dim=DIM).embed(graph, derive_seed(seed, "embed", 0), "cpu")
        elif variant == "unrefined":
            vectors = frame
        else:
            settings = dict(part.split("=") for part in variant.split(",")) if variant != "default" else {}
            kinds = {name: type(getattr(SpectralRefiner(window_weight=0.0), name)) for name in settings}
            refiner = SpectralRefiner(**{name: kinds[name](value) for name, value in settings.items()})
            vectors = refiner.refine(graph, frame, derive_seed(seed, "refine"), "cpu")
        found[variant] = vectors, begun_s + time.monotonic() - started
    return found


def read(kit, path: Path) -> Graph:
    edges, _ = kit.read_edges(str(path))
    return Graph.from_edges(edges[:, 0], edges[:, 1], np.ones(len(edges)))


def numbered(graph: Graph) -> Graph:
    return Graph(np.arange(graph.num_nodes), graph.adjacency)


def score(kit, name: str, counts: list[int], seeds: list[int], variants: list[str]) -> None:
    data = SHARED / "data" / name
    with tempfile.TemporaryDirectory(prefix="graphseam-bench-") as folder:
        output = Path(folder, "vectors.parquet")
        for seed in seeds:
            split = Path(folder, f"split-{seed}")
            kit.lp_split(str(data / "edges.parquet"), str(split), seed=seed)
            for task, path in (("links", split / "train.parquet"), ("labels", data / "edges.parquet")):
                if task == "labels" and not (data / "labels.parquet").exists():
                    continue
                graph = read(kit, path)
                for count in counts:
                    for variant, (vectors, seconds) in vectors_of(numbered(graph), count, seed, variants).items():
                        kit.write_emb(str(output), graph.node_ids, vectors)
                        figures = (
                            link_figures(kit, split, output) if task == "links" else label_figures(kit, data, output)
                        )
                        print(
                            name,
                            task,
                            count,
                            seed,
                            variant,
                            f"{seconds:.1f}",
                            *[f"{100 * figure:.2f}" for figure in figures],
                            sep="\t",
                            flush=True,
                        )


def link_figures(kit, split: Path, vectors: Path) -> list[float]:
    """AUC of the cosine, uniform and hard negatives."""
    rows = kit.lp_score(str(split), str(vectors), scorers=("cosine",))
    found = {row["ratio"]: row["mean"] for row in rows if row["metric"] == "auc"}
    return [found["uniform"], found["hard"]]


def label_figures(kit, data: Path, vectors: Path) -> list[float]:
    """Micro-F1 at 10, 50 and 90 %: raw vectors, then L2."""
    rows = kit.nc(str(data / "labels.parquet"), str(vectors))
    found = {(row["form"], row["ratio"]): row["mean"] for row in rows if row["metric"] == "micro_f1"}
    return [found[form, ratio] for form in ("raw", "l2") for ratio in (0.1, 0.5, 0.9)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", nargs="+")
    parser.add_argument("--subgraphs", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--variants", nargs="+", default=["default"])
    chosen = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("this benchmark needs the graphs and the referee of ../shared, which is not beside this checkout")
    sys.path.insert(0, str(SHARED / "evalkit"))
    import evalkit

    for name in chosen.graphs:
        score(evalkit, name, chosen.subgraphs, chosen.seeds, chosen.variants)


if __name__ == "__main__":
    main()
