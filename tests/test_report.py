"""The report: one file without a network, whose figures are the tables', readable on a phone, for any run."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from graphseam.config import config_of
from graphseam.evaluate.metrics import STRATA
from graphseam.files import size_told
from graphseam.ingested import Ingested
from graphseam.report.content import Content, CutMap, StepCost
from graphseam.report.page import page_of, without_credentials
from graphseam.report.picture import in_the_plane, on_the_map
from graphseam.report.sample import Sample

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
VOID = {"meta", "br", "img", "link", "input", "hr", "circle", "line", "rect", "polyline"}
LEVEL = {
    "level": 1, "kind": "cut", "method": "metis", "num_subgraphs": 2, "num_nodes": 6, "num_edges": 7,
    "captured_edges": 6, "largest_edges": 3, "cut_share": 1 / 7, "border_share": 0.3, "imbalance": 1.0,
    "replication": 1.0, "total_subgraphs": 2, "total_captured": 6 / 7, "seconds": 1.0,
}  # fmt: skip


class Page(HTMLParser):
    """Checks that elements close in order, and keeps the text and the addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def content(**changes) -> Content:
    """A run of two subgraphs; everything optional is missing."""
    config = config_of({"input": {"edges": "s3://me:secret@bucket/edges"}, "output": {"root": "tables"}})
    plain = Content(
        run_id="night-1",
        ingested=Ingested(id_type="string", rows=7, nodes=6, edges=7),
        config=dataclasses.asdict(config),
        versions={"graphseam": "0"},
        started="2026-01-01 00:00 UTC",
        levels=[LEVEL],
        steps=[StepCost("ingest", 0.0, 10.0, None)],
        embed={},
        metrics=[],
        reliability=[],
        label_quality=[],
        links=[],
        cut=CutMap({0: 3, 1: 3}, {0: 3, 1: 3}, {(0, 1): 1}, 2),
        sample=Sample(["<b>"], np.ones((1, 2)), ["0"], "subgraph"),
    )
    return dataclasses.replace(plain, **changes)


def test_a_run_without_anything_optional_has_a_page():
    page = Page(page_of(content()))
    assert "night-1" in page.words
    assert "How good" not in page.words


def test_a_graph_without_an_edge_has_a_page():
    level = {**LEVEL, "kind": "whole", "num_edges": 0, "captured_edges": 0}
    empty = Sample([], np.zeros((0, 2)), [], "subgraph")
    assert "no edge to cut" in Page(page_of(content(levels=[level], cut=None, sample=empty))).words


def test_ids_and_labels_are_text_whatever_they_hold():
    evil = "<script>alert('x')</script>&\"'"
    quality = {"label": evil, "num_examples": 3, "precision": None, "recall": 0.5, "f1": 0.5}
    sample = Sample([evil, "b"], np.eye(2), [evil, "other labels"], "label")
    link = {"src": evil, "dst": evil, "probability": 0.5, "cosine": 0.5, "num_paths": 1}
    html = page_of(
        content(label_quality=[quality], sample=sample, links=[link], confusion={(evil, evil): 2}, run_id="a<b>")
    )
    assert "<script" not in html
    assert evil in Page(html).words


def test_credentials_in_an_address_are_not_shown():
    assert "secret" not in page_of(content())
    assert without_credentials("s3a://key:se/cret@bucket/x and abfss://box@account/y").count("***@") == 1


def test_a_cosine_that_beats_the_link_model_is_remarked_on():
    def metric(scorer, value):
        row = {"task": "link_prediction", "metric": "auc", "variant": "hard", "scorer": scorer, "stratum": "all"}
        return {**row, "value": value, "support": 10}

    better = Page(page_of(content(metrics=[metric("cosine", 0.9), metric("link_model", 0.8)]))).words
    worse = Page(page_of(content(metrics=[metric("cosine", 0.8), metric("link_model", 0.9)]))).words
    assert (
        "The cosine alone ranks held-out edges better than the link model here (AUC hard 0.9000 against 0.8000)"
        in better
    )
    assert "The cosine alone" not in worse


def test_change_against_the_run_before_is_told_with_its_sign():
    row = {"task": "node_classification", "metric": "micro_f1", "variant": "50 %", "scorer": "x", "stratum": "all"}
    now = {**row, "value": 0.5, "support": 10}
    words = Page(page_of(content(metrics=[now], previous=("night-0", [{**now, "value": 0.75}])))).words
    assert "night-0" in words
    assert "-0.2500" in words


def test_what_has_moved_since_the_base_is_told_by_change_and_degree():
    def metric(kind, stratum, value, support):
        row = {"task": "stability", "metric": "stability", "variant": f"changed: {kind}", "scorer": "cosine"}
        return {**row, "stratum": stratum, "value": value, "support": support}

    moved = [
        metric("none", "all", 0.9987, 4321), metric("none", next(iter(STRATA)), 0.9912, 99),
        metric("edges", "all", 0.8765, 123),
    ]  # fmt: skip
    changes = {"nodes": 123, "new_edges": 1234, "removed_edges": 56, "reweighted_edges": 0}
    words = Page(page_of(content(base="night-0", changes=changes, metrics=moved))).words
    assert "in the frame of night-0" in words
    assert "new edges 1,234 removed edges 56 reweighted edges 0" in words
    assert "no edge of its own 4,321 0.9987 0.991 its edges 123 0.8765" in words
    assert "Since the base run" not in Page(page_of(content())).words
    assert "Since the base run" in Page(page_of(content(base="night-0"))).words  # no node is in both


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 40])
def test_the_picture_has_a_finite_place_for_each_node(count):
    places = in_the_plane(np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert ((places >= 0) & (places <= 1)).all()


def test_the_picture_keeps_groups_apart_and_is_the_same_each_time():
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(2, 16), 60, axis=0).astype(np.float32) + 0.1 * rng.normal(size=(120, 16)).astype(
        np.float32
    )
    places = in_the_plane(vectors)
    between = np.linalg.norm(places[:60].mean(axis=0) - places[60:].mean(axis=0))
    assert between > 3 * np.linalg.norm(places[:60] - places[:60].mean(axis=0), axis=1).mean()
    assert np.array_equal(places, in_the_plane(vectors))


def test_the_map_places_subgraphs_that_share_edges_near_each_other():
    places = on_the_map([0, 1, 2, 3], {(0, 1): 100, (2, 3): 100, (1, 2): 1})
    apart = {pair: np.hypot(*np.subtract(places[pair[0]], places[pair[1]])) for pair in [(0, 1), (2, 3), (0, 3)]}
    assert max(apart[0, 1], apart[2, 3]) < apart[0, 3]
    assert on_the_map([7], {}) == {7: (0.0, 0.0)}


def test_sizes_are_told_in_the_unit_that_fits():
    assert [size_told(size) for size in (0, 999, 1500, 2.5e6, 3e12)] == ["0 B", "999 B", "2 KB", "2 MB", "3,000.0 GB"]


@pytest.fixture(scope="module")
def report(published, tmp_path_factory):
    """(a published run with labels and held-out edges, its page)."""
    from graphseam.report import published_run, write_report
    from graphseam.tables import Tables

    made = published("lastfm")
    run = published_run(Tables(made.spark, made.config.output, read_only=True), None)
    place = tmp_path_factory.mktemp("report") / "deep" / "page.html"
    assert write_report(run, str(place)) == str(place)
    return run, place


def test_the_page_of_a_run_is_whole_and_needs_no_other_file(report):
    run, place = report
    html = place.read_text(encoding="utf-8")
    page = Page(html)
    assert page.addresses == []
    assert not re.search(r"@import|url\(|<script|<link|<iframe", html)
    for heading in (
        "two dimensions",
        "The cut as a map",
        "links",
        "labels",
        "come true",
        "Beside the run before",
        "Config",
    ):
        assert heading in page.words
    assert html.count("<title>") > min(run.ingested.nodes, 100)  # of the dots
    assert "first, the run published before this one" in page.words


def test_the_figures_are_those_of_the_tables(report):
    run, place = report
    words = Page(place.read_text(encoding="utf-8")).words
    rows = run.tables.read("metrics").where("stratum = 'all' AND metric IN ('auc', 'micro_f1')").collect()
    shown = [row for row in rows if row["scorer"] != "dot_product"]
    assert shown
    assert all(f"{row['value']:.4f}" in words for row in shown)
    assert f"edges embedded {run.ingested.edges:,}" in words
    for record in run.records:
        if record["status"] == "finished" and record["step"] in ("embed", "refine"):
            assert f"{record['step']} {record['seconds']:,.1f}" in words


def test_a_report_that_cannot_be_written_says_where(report, tmp_path):
    from graphseam.errors import InputError
    from graphseam.report import write_report

    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written to '.*file/page.html'.*--output"):
        write_report(report[0], str(tmp_path / "file" / "page.html"))


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH to open the report in")
@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_shows_it_without_scrolling_sideways(report, tmp_path, width):
    """A frame of that width holds the page; a script beside it reads how wide the page is in there."""
    (tmp_path / "frame.html").write_text(
        f'<iframe id="f" src="{report[1].as_uri()}" style="width:{width}px;height:800px;border:0"></iframe>'
        "<script>f.onload = () => {const d = f.contentDocument, all = name => [...d.querySelectorAll(name)];"
        "document.title = [d.documentElement.scrollWidth, all('svg circle').length, "
        "all('svg').every(picture => picture.clientWidth > 200)].join()}</script>"
    )
    done = subprocess.run(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         "--virtual-time-budget=3000", "--dump-dom", (tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title, done.stdout[:500]
    scroll_width, circles, drawn = title[1].split(",")
    assert int(scroll_width) <= width
    assert int(circles) > 100
    assert drawn == "true"
