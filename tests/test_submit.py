"""The whole pipeline by real spark-submit and by the real command: slow, as processes.

tests/airflow shows that the jobs one by one give the same bytes as the pipeline.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from conftest import LASTFM, REPOSITORY, arrow_of, make_config, run_steps
from graphs import communities

pytestmark = pytest.mark.slow

SUBMIT, COMMAND = (Path(sys.executable).with_name(name) for name in ("spark-submit", "graphseam"))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("submit")
    (folder / "run.toml").write_text(f"""
[input]
edges = "{LASTFM / "edges.parquet"}"
labels = "{LASTFM / "labels.parquet"}"
[output]
root = "{folder / "tables"}"
[partition]
num_subgraphs = 8
[embed]
dim = 32
[evaluate]
holdout = 0.2
[predict.links]
top_k = 2
num_candidates = 4
[predict.similar]
top_k = 2
""")
    return folder / "run.toml"


def submit(job: str, *arguments: str, properties: str = "") -> subprocess.CompletedProcess:
    given = ["--properties-file", str(REPOSITORY / "conf" / properties)] if properties else []
    command = [str(SUBMIT), "--master", "local[2]", "--driver-memory", "2g", *given]
    command.append(str(REPOSITORY / "jobs" / f"{job}.py"))
    activated = {**os.environ, "PATH": f"{SUBMIT.parent}{os.pathsep}{os.environ['PATH']}"}  # it asks PATH for python3
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=1500, check=False, env=activated
    )


def rows(config: Path, table: str, run_id: str) -> list[dict]:
    found = DeltaTable(str(config.parent / "tables" / table)).to_pyarrow_table(filters=[("run_id", "=", run_id)])
    return found.to_pylist()


@pytest.fixture(scope="module")
def whole(config):
    """The pipeline in one job, with everything encrypted that Spark can encrypt."""
    done = submit("pipeline", "--config", str(config), "--run-id", "whole", properties="secure.conf")
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_the_pipeline_job_ends_with_a_published_run_and_a_summary(whole, config):
    assert "How good it is" in whole.stdout
    assert "Predicted links" in whole.stdout
    (run,) = rows(config, "runs", "whole")
    assert run["num_nodes"] == len(rows(config, "embeddings", "whole")) == 7624
    levels = rows(config, "partition_levels", "whole")
    assert len(levels) >= 2
    assert sum(level["num_subgraphs"] for level in levels) >= 9
    metrics = {
        (row["metric"], row["variant"], row["scorer"]): row["value"]
        for row in rows(config, "metrics", "whole")
        if row["stratum"] == "all"
    }
    # 0.960, 0.956 and 0.842 when this was written
    assert metrics["auc", "uniform", "cosine"] > 0.955
    assert metrics["auc", "hard", "cosine"] > 0.95
    assert metrics["micro_f1", "trained on 50 %", "logistic_regression"] > 0.83


@pytest.mark.parametrize(
    ("run_id", "told"),
    [
        pytest.param("new", ("step 'fuse'", "jobs/fuse.py"), marks=pytest.mark.thorough),  # test_resume has the error
        ("whole", ("is published", "embed.dim: 32 -> 16")),
    ],
)
def test_a_step_out_of_order_or_over_a_published_run_is_one_clear_line(config, whole, run_id, told):
    done = submit("refine", "--config", str(config), "--run-id", run_id, "--set", "embed.dim=16")
    assert done.returncode == 1
    printed = done.stdout + done.stderr  # spark-submit sends Python's standard error to its own standard output
    (line,) = [line for line in printed.splitlines() if line.startswith("graphseam:")]
    assert all(part in line for part in told)
    assert "Traceback" not in printed


@pytest.mark.thorough
def test_cut_into_eight_scores_within_a_point_of_uncut(spark, tmp_path, evalkit):
    """LastFM Asia by the referee: link prediction AUC and Micro-F1 at 50 %, with 8 subgraphs and with one.

    Both on the training edges of the split.
    """
    evalkit.lp_split(str(LASTFM / "edges.parquet"), str(tmp_path / "split"), seed=1)
    found = {}
    for count in (1, 8):
        output = str(tmp_path / f"{count}.parquet")
        config = make_config(
            {"edges": str(tmp_path / "split" / "train.parquet")},
            tmp_path / str(count),
            partition={"num_subgraphs": count},
        )
        vectors = arrow_of(run_steps(spark, config, "scored", last="refine").tables.read("embeddings"))
        nodes = vectors["id"].cast("int64").to_numpy()
        evalkit.write_emb(output, nodes, np.stack(vectors["vector"].to_numpy()))
        links = evalkit.lp_score(str(tmp_path / "split"), output, scorers=("cosine",))
        found["links", count] = next(
            row["mean"] for row in links if (row["ratio"], row["metric"]) == ("uniform", "auc")
        )
        labels = evalkit.nc(str(LASTFM / "labels.parquet"), output, ratios=(0.5,), shuffles=2)
        found["labels", count] = next(
            row["mean"] for row in labels if (row["form"], row["metric"]) == ("raw", "micro_f1")
        )
    assert found["links", 8] > found["links", 1] - 0.01
    assert found["labels", 8] > found["labels", 1] - 0.01


def run_with_default_settings(folder: Path, edges: Path, labels: Path) -> str:
    """The output of `graphseam run` as a process, for a weighted graph with labels; nothing is tuned."""
    (folder / "run.toml").write_text(
        f'[input]\nedges = "{edges}"\nweight = "weight"\nlabels = "{labels}"\n[output]\nroot = "{folder / "t"}"\n'
    )
    done = subprocess.run(
        [COMMAND, "run", str(folder / "run.toml")], capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.thorough
def test_the_command_takes_a_graph_of_another_kind(tmp_path):
    """Dense and weighted, with several labels per node."""
    rng, pairs = np.random.default_rng(3), communities(3, 40, seed=4)
    src, dst = zip(*pairs, strict=True)
    edges = pa.table({"src": src, "dst": dst, "weight": rng.integers(1, 90, len(pairs)).astype(float)})
    pq.write_table(edges, tmp_path / "edges.parquet")
    labels = [(node, f"l{label}") for node in range(120) for label in {node // 40, 3 + node % 2}]
    pq.write_table(
        pa.table(dict(zip(("node", "label"), zip(*labels, strict=True), strict=True))), tmp_path / "l.parquet"
    )
    told = run_with_default_settings(tmp_path, tmp_path / "edges.parquet", tmp_path / "l.parquet")
    assert "Micro-F1" in told
    assert "Predicted links" in told
    (run,) = DeltaTable(str(tmp_path / "t" / "runs")).to_pyarrow_table().to_pylist()
    assert (run["status"], run["num_nodes"]) == ("published", 120)


@pytest.mark.shared
@pytest.mark.thorough
def test_default_settings_take_a_real_graph_of_another_kind(tmp_path, shared_data):
    """wikipedia_pos, dense and weighted, with its labels."""
    data = shared_data / "wikipedia_pos"
    assert "Micro-F1" in run_with_default_settings(tmp_path, data / "edges.parquet", data / "labels.parquet")
