"""`graphseam.embed` on frames of edges of any library, and what comes back."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest

import graphseam
from conftest import REPOSITORY
from graphs import communities
from graphseam.errors import InputError
from graphseam.frames import _input_rows

EDGES = sorted({(min(edge), max(edge)) for edge in communities(2, 12, seed=5)})


@pytest.fixture(scope="module")
def frame():
    return pd.DataFrame({"src": [a for a, _ in EDGES], "dst": [b for _, b in EDGES], "tags": [["x"]] * len(EDGES)})


@pytest.fixture(scope="module")
def result(spark, frame, tmp_path_factory):
    """What README.md's lines of Python make of a file; weights and labels are put in as well."""
    folder = tmp_path_factory.mktemp("frames")
    (block,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    for old, new in (
        ("my_edges.csv", str(folder / "my_edges.csv")),
        ('root="tables"', f'root="{folder}/tables", **more'),
    ):
        assert old in block
        block = block.replace(old, new)
    frame.assign(times=1.0)[["src", "dst", "times"]].to_csv(folder / "my_edges.csv", index=False)
    labels = pd.DataFrame({"node": range(24), "label": ["left"] * 12 + ["right"] * 12})
    names: dict[str, object] = {"more": {"weight": "times", "labels": labels, "run_id": "r"}}
    exec(block, names)
    return names["result"]


def test_vectors_come_back_with_the_ids_of_the_frame(result):
    ids, vectors = result.to_numpy()
    assert sorted(ids.tolist()) == sorted({node for edge in EDGES for node in edge})
    assert (vectors.dtype, vectors.shape) == (np.float32, (len(ids), 128))
    assert np.linalg.norm(vectors, axis=1).min() > 0
    same, tensor = result.to_torch()
    assert np.array_equal(same, ids)
    assert np.array_equal(tensor.numpy(), vectors)


def test_predictions_and_metrics_are_pandas_frames(result):
    links, labels, metrics = result.links, result.labels, result.metrics
    assert list(links.columns[:4]) == ["src", "dst", "probability", "rank"]
    assert links["probability"].is_monotonic_decreasing
    assert set(links["src"]) <= {node for edge in EDGES for node in edge}
    assert set(labels["label"]) == {"left", "right"}
    assert {"auc", "micro_f1"} <= set(metrics["metric"])
    assert len(result.similar) == 10 * 24
    assert result.table("nodes").count() == 24


def test_the_run_can_be_opened_later_and_reported_on(result, tmp_path):
    again = graphseam.results(result.run.config.output.root)
    assert again.run_id == "r"
    assert np.array_equal(again.to_numpy()[1], result.to_numpy()[1])
    assert result.report().endswith("tables/reports/r.html")
    assert again.report(str(tmp_path / "page.html")) == str(tmp_path / "page.html")


@pytest.mark.parametrize("make", [pa.Table.from_pandas, polars.from_pandas, None], ids=["arrow", "polars", "spark"])
def test_frames_of_every_library_give_the_same_rows(spark, frame, make):
    frame = frame.rename(columns={"src": "who", "dst": "whom"})
    wanted = {"src": "who", "dst": "whom"}
    given = spark.createDataFrame(frame[["who", "whom"]]) if make is None else make(frame)
    rows = _input_rows(spark, given, wanted, "edges")
    assert sorted(map(tuple, rows.collect())) == EDGES


def test_what_is_no_frame_or_lacks_a_column_is_refused(spark, frame, tmp_path):
    with pytest.raises(InputError, match=r"edges is a list; give a frame of pandas, polars, pyarrow or Spark"):
        graphseam.embed([(1, 2)], str(tmp_path))
    with pytest.raises(InputError, match=r"edges has no column 'source'. Did you mean 'src'\?|Known: "):
        graphseam.embed(frame, str(tmp_path), src="source")
    with pytest.raises(InputError, match="holds no graphseam tables"):
        graphseam.results(str(tmp_path / "nothing"))
