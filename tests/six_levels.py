"""Run by test_levels in a process of its own, whose Java heap is 1 GB: a graph cut into six levels, through all steps.

python six_levels.py default: the default methods and both fusions over 25,000 edges; python six_levels.py all: every
method over 220,000. A graph like a social network, dense and with hubs, cuts badly: each level leaves most of its
edges to the next. Spark plans anew after each shuffle, as it does from 200,000 edges on. Prints one line of JSON: the
levels of each way to cut, the edges, and the largest plan of each step in operators, of the last twenty queries that
the step made.
"""

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ["GRAPHSEAM_DRIVER_MEMORY"] = "1g"
sys.path.insert(0, str(Path(__file__).parent))

import pyarrow as pa
import pyarrow.parquet as pq

import graphseam.session
from conftest import make_config
from graphs import social
from graphseam.graphframes_jvm import has_graphframes
from graphseam.methods import EMBEDDERS, FUSIONS, ITERATIONS, PARTITIONERS
from graphseam.pipeline import run_step
from graphseam.progress import StepProgress
from graphseam.runs import open_run
from graphseam.session import build_session
from graphseam.steps import STEPS

LEVELS = 6
CUT = {"num_subgraphs": 16, "max_levels": LEVELS, "min_captured": 0.0}
SIZES = {"default": (2_000, 25_000), "all": (12_000, 220_000)}  # nodes, edges
QUICK = {"dim": 16, "num_walks": 1, "walk_length": 10, "window": 2, "samples": 2}


class Sizes:
    """Runs steps, and records the number of operators of each step's largest plan."""

    def __init__(self, spark, config):
        self.spark, self.config, self.largest = spark, config, {}
        self.plans = spark._jsparkSession.sharedState().statusStore()

    def step(self, step, **changed):
        sections = {name: replace(getattr(self.config, name), **values) for name, values in changed.items()}
        run = open_run(self.spark, replace(self.config, **sections), "six")
        run_step(run, step, StepProgress(len(STEPS)))
        kept = self.plans.executionsList()
        numbers = [kept.apply(place).executionId() for place in range(kept.size())]
        sizes = [self.plans.planGraph(number).allNodes().size() for number in numbers]
        self.largest[step] = max(self.largest.get(step, 0), *sizes)
        return run.details(step)


def configure(num_nodes: int, num_edges: int, folder: Path):
    """The configuration of a run over a new graph; multilevel would leave so small a one to METIS, unless told."""
    src, dst = zip(*social(num_nodes, num_edges, seed=1), strict=True)
    pq.write_table(pa.table({"src": src, "dst": dst}), folder / "edges.parquet")
    return make_config(
        {"edges": str(folder / "edges.parquet")},
        folder / "tables",
        partition={**CUT, "block_edges": num_edges // 2, "coarsest_edges": 2 * num_edges // 3},
        embed=QUICK,
        evaluate={"holdout": 0.05},
        predict={"links": {"top_k": 2}, "similar": {"top_k": 2}},
    )


def try_other_methods(sizes: Sizes, levels: dict[str, int]) -> None:
    """Each other way to cut, with an embedder of its own; each other embedder and iteration over the default cut."""
    embedders = list(EMBEDDERS)[1:]
    for method in (name for name in PARTITIONERS if name != "multilevel"):
        if method == "graphframes_lpa" and not has_graphframes(sizes.spark):
            continue
        cut, embedder = {"method": method}, {"method": embedders.pop()}
        levels[method] = sizes.step("partition", partition=cut, embed=embedder)["levels"]
        sizes.step("embed", partition=cut, embed=embedder)
        sizes.step("fuse", partition=cut, embed=embedder)
    for embedder in embedders:
        sizes.step("partition", embed={"method": embedder})
        sizes.step("embed", embed={"method": embedder})
    sizes.step("partition")
    sizes.step("embed")
    sizes.step("fuse")
    for iteration in ITERATIONS:
        sizes.step("refine", refine={"method": iteration, "num_blocks": 3, "rounds": 2})


def main(methods: str) -> None:
    config = configure(*SIZES[methods], Path(tempfile.mkdtemp()))
    if methods == "default":  # so few edges would be planned once
        graphseam.session.ADAPT_FROM_ROWS = graphseam.session.COMPILE_FROM_ROWS = 0
    spark = build_session("six levels", local=True)
    sizes, levels = Sizes(spark, config), {}
    edges = sizes.step("ingest")["edges"]
    if methods == "all":
        try_other_methods(sizes, levels)
    levels["multilevel"] = sizes.step("partition")["levels"]
    sizes.step("embed")
    for fusion in reversed(FUSIONS):  # the default comes last
        sizes.step("fuse", fuse={"method": fusion})
    steps = list(STEPS)
    for step in steps[steps.index("refine") :]:
        told = sizes.step(step)
    print(json.dumps({"levels": levels, "edges": edges, **told, "largest_plans": sizes.largest}))
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1])
