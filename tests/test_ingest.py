"""ingest: every good row arrives, every bad one is kept with its reason, whatever the layout and format."""

from __future__ import annotations

import datetime
import gzip
import random
from collections import Counter
from itertools import count

import networkx as nx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import make_config, publish_row, run_steps
from graphs import communities
from graphseam.errors import InputError
from graphseam.ingest.graph import mark_free, newest_numbers, number_ids
from graphseam.ingest.reading import id_type_of, read_rows, with_reason
from graphseam.sources import check_inputs, inputs

run_numbers = count()
EDGES = sorted({(min(edge), max(edge)) for edge in communities(2, 12, seed=5)})
CLIQUE = [(a, b) for a in range(900, 906) for b in range(a + 1, 906)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """One root for all runs of this file; unpublished runs do not affect each other."""
    return tmp_path_factory.mktemp("tables")


@pytest.fixture
def ingest(spark, root):
    """Run the first step on an [input] section and sections of other names."""

    def ingest(section: dict[str, object], **sections: dict[str, object]):
        return run_steps(spark, make_config(section, root, **sections), f"ingest-{next(run_numbers)}", last="ingest")

    return ingest


def edges_of(run, table: str = "edges") -> dict[tuple[str, str], float]:
    """{(id, id): weight} of a table of the run; the ids of an undirected edge in text order."""
    ids = {row["node_id"]: row["id"] for row in run.tables.read("nodes").collect()}
    rows = run.tables.read(table).collect()
    pairs = [(ids[row["src"]], ids[row["dst"]]) for row in rows]
    assert len(ids) == run.details("ingest")["nodes"]
    if not run.config.input.directed:
        assert all(row["src"] < row["dst"] for row in rows)
        pairs = [(min(pair), max(pair)) for pair in pairs]
    found = dict(zip(pairs, [row["weight"] for row in rows], strict=True))
    assert len(found) == len(rows)
    return found


def as_text(edges: list[tuple]) -> set[tuple[str, str]]:
    return {(min(pair), max(pair)) for pair in ((str(a), str(b)) for a, b in edges)}


def lines(edges: list[tuple], delimiter: str = ",", header: str = "") -> str:
    return "".join(f"{line}\n" for line in ([header] if header else []) + [delimiter.join(map(str, e)) for e in edges])


JUNK = {
    "src is not a whole number of 64 bits": [
        "x1,5,1",
        "1.5,2,1",
        "9223372036854775808,1,1",
        "1e3,2,1",
        "12 13,1,1",
        "src,dst,1",
        "0x1F,2,1",
        "NaN,1,1",
    ],
    "dst is not a whole number of 64 bits": ["5,y,1", "5,--6,1", "5,6.0,1", "5,true,1", '5,"6,7",1'],
    "src is missing": [",5,1", "  ,5,1", '"",5,1', ",,", ",,1"],
    "dst is missing": ["5,,1", "5, ,1", "5", "5,"],
    "weight is missing": ["5,6,", "5,6", "5,6,  ", '5,6,""'],
    "weight is not a number": ["5,6,heavy", "5,6,1-2", '5,6,"1,5"', "5,6,1.2.3"],
    "weight is NaN or infinite": ["5,6,NaN", "5,6,nan", "5,6,inf", "5,6,-Infinity", "5,6,1e999"],
    "weight is negative": ["5,6,-1", "5,6,-1e-300", "5,6,-0.5"],
    "weight is not between 1e-30 and 1e+30": ["5,6,1e31", "5,6,1e308", "5,6,1e-31"],
    "weight is zero": ["5,6,0", "5,6,0.0", "5,6,-0", "5,6,1e-999"],
    "blank line": ["", "   ", "\t", " \t "],
}


def test_junk_is_told_apart_and_nothing_good_is_lost(ingest, tmp_path):
    """One row in twenty is junk of some kind: the other rows make the graph, the junk is kept with its reason."""
    random.seed(1)
    junk = [(line, f"edges: {reason}") for reason, bad in JUNK.items() for line in bad]
    good = {(str(a), str(b)): a / 7 for a in range(100, 100 + 19 * len(junk) // 2) for b in (a + 1, a + 3)}
    rows = [f"{src},{dst},{weight!r}" for (src, dst), weight in good.items()] + [line for line, _ in junk]
    random.shuffle(rows)
    (tmp_path / "edges.csv").write_text("src,dst,weight\n" + "\n".join(rows) + "\n")
    run = ingest({"edges": str(tmp_path / "edges.csv"), "weight": "weight"})
    details = run.details("ingest")
    assert 0.04 < len(junk) / len(rows) < 0.06
    assert (details["id_type"], details["id_shift"]) == ("integer", -100)  # from 100 without a gap
    assert details["rows"] == len(rows)
    assert details["rejected"] == Counter(reason for _, reason in junk)
    kept = run.tables.read("rejected_rows").collect()
    assert Counter((row["content"], f"{row['source']}: {row['reason']}") for row in kept) == Counter(junk)
    assert all(row["file"].endswith("/edges.csv") for row in kept)
    assert edges_of(run) == {(min(pair), max(pair)): weight for pair, weight in good.items()}


def test_a_line_in_another_encoding_or_with_half_a_field_is_set_aside(ingest, tmp_path):
    """Not read as something else: café, cafè and cafê of a Latin-1 file were one node."""
    good = [("café", 'a "b"'), ('5" pipe', "café"), ("x,y", "café")] + [(f"n{at}", "café") for at in range(2000)]
    lines = [b'"' + '","'.join(end.replace('"', '""') for end in edge).encode() + b'"' for edge in good]
    lines[1] = '5" pipe,café'.encode()  # a quote inside a field that is not quoted is a character like others
    bad = ["caf\xe9,b".encode("latin-1"), b'a,"begun here', b'ended here",b', b'"a,b']
    (tmp_path / "e.csv").write_bytes(b"src,dst\n" + b"\n".join(lines + bad) + b"\n")
    run = ingest({"edges": str(tmp_path / "e.csv")})
    assert edges_of(run) == {tuple(sorted(edge)): 1.0 for edge in good}
    assert run.details("ingest")["rejected"] == {
        "edges: a quote begins or ends on another line (input.multiline)": 3,
        "edges: not in the encoding of input.encoding": 1,
    }


@pytest.mark.parametrize("multiline", [False, True])
def test_text_of_windows_and_records_of_several_lines(ingest, tmp_path, multiline):
    edges = [("Šárka", "5 €"), ("Zoë", "Šárka"), ("Zoë", "two\r\nlines" if multiline else "one line")]
    lines = "".join(f'"{src}";"{dst}"\r\n' for src, dst in edges)
    (tmp_path / "e.csv").write_bytes(f"from;to\r\n# said\r\n{lines}".encode("cp1252"))
    named = {"src": "from", "dst": "to", "encoding": "windows-1252", "multiline": multiline}
    run = ingest({"edges": str(tmp_path / "e.csv"), **named})
    assert run.details("ingest")["rejected"] == {}
    assert {name.replace("\r", "") for edge in edges_of(run) for name in edge} == {
        name.replace("\r", "") for edge in edges for name in edge
    }


def test_nothing_usable_is_an_error(ingest, root, tmp_path):
    """Nothing but junk: the message has the most frequent reason and the table to look into."""
    (tmp_path / "e.csv").write_text("src,dst,w\n1,2,-1\n3,4,-2\n5,6,0\n")
    with pytest.raises(InputError, match=r"3 read; most often: edges: weight is negative\); see the table .*rejected"):
        ingest({"edges": str(tmp_path / "e.csv"), "weight": "w"})


def usable(spark, section: dict[str, object]) -> tuple[list[tuple], str]:
    """(rows, id type): the good rows of the edges as ingest reads them, without the rest of the step."""
    config = make_config(section, "nowhere").input
    check_inputs(config)
    name, path, columns = inputs(config)[0]
    rows = read_rows(spark, name, path, columns, config)
    id_type = id_type_of(rows, ["src", "dst"], config.id_type)
    checked = with_reason(rows, ["src", "dst"], "weight" if config.weight else None, id_type).collect()
    assert [row["content"] for row in checked if row["reason"] is not None] == []
    return sorted((row["src"], row["dst"], row["weight"]) for row in checked), id_type


@pytest.mark.parametrize("column", ["src", "w"])
def test_a_column_of_neither_numbers_nor_text_is_an_error(spark, tmp_path, column):
    """A date can be neither an id nor a weight; the message names column and type."""
    table = pa.table({"src": [1], "dst": [2], "w": [1.0]})
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, pa.array([datetime.date(2026, 1, 1)])), tmp_path / "e.parquet")
    with pytest.raises(InputError, match=rf"has date in column '{column}' .*; give a column of numbers or text"):
        usable(spark, {"edges": str(tmp_path / "e.parquet"), "weight": "w"})


def write_parquet(spark, path, edges):
    pq.write_table(pa.table({"src": [a for a, _ in edges], "dst": [b for _, b in edges]}), path)


def write_floats(spark, path, edges):
    pq.write_table(
        pa.table({"src": pa.array([a for a, _ in edges], pa.float64()), "dst": pa.array([str(b) for _, b in edges])}),
        path,
    )


def write_delta(spark, path, edges):
    spark.createDataFrame(edges, "src BIGINT, dst INT").write.format("delta").save(str(path))


def write_nested(spark, path, edges):
    (path / "deep" / "er").mkdir(parents=True)
    (path / "_SUCCESS").touch()
    (path / "a.csv").write_text(lines(edges[::2], header="src,dst"))
    (path / "deep" / "er" / "b.csv").write_text(lines(edges[1::2], header="src,dst"))


def text(delimiter=",", header="", encoding="utf-8", end="\n", before="", pack=bytes):
    def write(spark, path, edges):
        path.write_bytes(pack((before + lines(edges, delimiter, header)).replace("\n", end).encode(encoding)))

    return write


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("e.parquet", write_parquet),
        ("floats.parquet", write_floats),
        ("delta", write_delta),
        ("nested", write_nested),
        ("e x%20,=ü.csv", text(header="src,dst")),
        ("bom_crlf.csv", text(";", header="src;dst", encoding="utf-8-sig", end="\r\n")),
        ("e.tsv", text("\t", header="src\tdst")),
        ("snap.txt", text("   ", before="# Undirected graph\n# FromNodeId ToNodeId\n")),
        ("e.csv.gz", text(header="src,dst", pack=gzip.compress)),
    ],
)
def test_the_format_does_not_matter(spark, tmp_path, name, write):
    """One edge list gives the same rows in every format; nothing later depends on the format."""
    write(spark, tmp_path / name, EDGES)
    wanted = [(src, dst, 1.0) for src, dst in EDGES]
    assert usable(spark, {"edges": str(tmp_path / name)}) == (wanted, "integer")


def test_rows_make_a_graph(spark, ingest, tmp_path):
    """Nodes are numbered from 0 in numeric order of their ids; each edge weighs 1."""
    write_delta(spark, tmp_path / "e", EDGES)
    run = ingest({"edges": str(tmp_path / "e")})
    assert edges_of(run) == dict.fromkeys(as_text(EDGES), 1.0)
    ids = sorted({end for edge in EDGES for end in edge})
    assert [(row["node_id"], row["id"]) for row in run.tables.read("nodes").sort("node_id").collect()] == [
        (number, str(node)) for number, node in enumerate(ids)
    ]
    details = run.details("ingest")
    assert (details["rows"], details["rejected"], details["id_type"]) == (len(EDGES), {}, "integer")


def test_string_ids_keep_their_letters(ingest, tmp_path):
    """Quoted CSV: commas, quotes, backslashes, blanks inside, other scripts, digits among words."""
    names = ["a, b", 'the "x", y', "back\\slash", "c  d", "Ünï", "猫", "1", "01", "it's", "NULL", "null", "NaN", "-"]
    edges = list(zip(names, names[1:] + names[:1], strict=True))
    quoted = [tuple('"' + name.replace('"', '""') + '"' for name in edge) for edge in edges]
    (tmp_path / "e.csv").write_text(lines(quoted, header='"src","dst"'), encoding="utf-8")
    run = ingest({"edges": str(tmp_path / "e.csv")})
    assert run.details("ingest")["id_type"] == "string"
    assert run.details("ingest")["rejected"] == {}
    assert run.details("ingest")["null_like_rows"] == 4  # those of NULL, null and NaN, which the summary tells
    assert set(edges_of(run)) == as_text(edges)


def test_ids_that_would_not_come_back_letter_for_letter_are_text(ingest, tmp_path):
    (tmp_path / "e.csv").write_text("00042,7\n7,9\n9,00042\n9,11\n")
    run = ingest({"edges": str(tmp_path / "e.csv")})
    assert run.details("ingest")["id_type"] == "string"
    assert {row["id"] for row in run.tables.read("nodes").collect()} == {"00042", "7", "9", "11"}


@pytest.mark.parametrize(("kind", "value"), [("pattern", ""), ("real", " 2.5")])
def test_the_size_of_a_matrix_market_file_is_no_edge(ingest, tmp_path, kind, value):
    matrix = f"%%MatrixMarket matrix coordinate {kind} symmetric\n% a comment\n4 4 3\n"
    (tmp_path / "e.mtx").write_text(matrix + "".join(f"{edge}{value}\n" for edge in ("2 1", "3 1", "4 3")))
    run = ingest({"edges": str(tmp_path / "e.mtx"), **({"weight": "2"} if value else {})})
    assert edges_of(run) == dict.fromkeys([("1", "2"), ("1", "3"), ("3", "4")], 2.5 if value else 1.0)
    assert run.details("ingest")["rows"] == 3


def test_loops_duplicate_edges_labels_and_unknown_nodes(ingest, tmp_path):
    """Weights of duplicate edges add up, loops leave a node, isolated nodes and labels of unknown nodes are counted."""
    (tmp_path / "e.csv").write_text("5,6,0.5\n6,5,0.25\n5,6,1\n6,7,3\n8,8,2\n8,8,1\n")
    (tmp_path / "n.csv").write_text("5\n100\n\nabc\n")
    rows = [(5, "red"), (5, "red"), (5, "blue"), (100, "blue"), (8, None), (77, "red"), (78, "red"), (None, "red")]
    pq.write_table(
        pa.table({"node": [node for node, _ in rows], "label": [label for _, label in rows]}), tmp_path / "l.parquet"
    )
    run = ingest(
        {
            "edges": str(tmp_path / "e.csv"),
            "weight": "weight",
            "nodes": str(tmp_path / "n.csv"),
            "labels": str(tmp_path / "l.parquet"),
        }
    )
    details = run.details("ingest")
    assert edges_of(run) == {("5", "6"): 1.75, ("6", "7"): 3.0}
    assert {row["id"] for row in run.tables.read("nodes").collect()} == {"5", "6", "7", "8", "100"}
    assert (details["loops"], details["duplicate_edges"]) == (2, 2)
    assert details["rejected"] == {
        "nodes: blank line": 1,
        "nodes: node is not a whole number of 64 bits": 1,
        "labels: node is missing": 1,
        "labels: label is missing": 1,
    }
    labels = run.tables.read("labels").join(run.tables.read("nodes"), on="node_id", how="inner")
    assert sorted((row["id"], row["label"]) for row in labels.collect()) == [
        ("100", "blue"),
        ("5", "blue"),
        ("5", "red"),
    ]
    assert details["labels_of_unknown_nodes"] == 2
    assert (details["label_rows"], details["labelled_nodes"], details["label_classes"]) == (3, 2, 2)


def split(run):
    """(edges, held-out edges) of a run, after checking the laws of every hold-out."""
    edges, held = edges_of(run), edges_of(run, "holdout_edges")
    kept, out = as_text(list(edges)), as_text(list(held))
    assert not kept & out  # nor the reverse of an embedded edge
    assert {end for edge in out for end in edge} <= {end for edge in kept for end in edge}
    return edges, held


def assert_pairs(run) -> Counter:
    """No negative is an edge of the whole graph, either way round, or a loop; positives are held-out edges."""
    edges, held = split(run)
    ids = {row["node_id"]: row["id"] for row in run.tables.read("nodes").collect()}
    graph = nx.Graph([*edges, *held])
    pairs = run.tables.read("evaluation_pairs").collect()
    for pair in pairs:
        src, dst = ids[pair["src"]], ids[pair["dst"]]
        assert src != dst
        assert graph.has_edge(src, dst) == (pair["kind"] == "positive")
    positives = {tuple(sorted((ids[pair["src"]], ids[pair["dst"]]))) for pair in pairs if pair["kind"] == "positive"}
    assert positives == as_text(list(held or edges))
    return Counter(pair["kind"] for pair in pairs)


def test_the_hold_out_does_not_depend_on_the_layout(ingest, tmp_path):
    """The same edges in 1, 3 and 7 files, in another order each: the same split and pairs, of about the share asked."""
    edges = sorted({(min(edge), max(edge)) for edge in communities(3, 30, seed=8)}) + CLIQUE + [(0, 1000), (1001, 1002)]
    found = []
    for num_files in (1, 3, 7):
        random.seed(num_files)
        random.shuffle(edges)
        folder = tmp_path / f"files{num_files}"
        folder.mkdir()
        for at in range(num_files):
            (folder / f"part-{at}.csv").write_text(lines(edges[at::num_files], header="src,dst"))
        run = ingest({"edges": str(folder)}, evaluate={"holdout": 0.2})
        kept, held = split(run)
        pairs = run.tables.read("evaluation_pairs").collect()
        found.append((kept, held, sorted(map(tuple, pairs))))
        if num_files == 1:
            assert kept.keys() | held.keys() == as_text(edges)
            assert 0.15 < len(held) / len(edges) < 0.25
            kinds = assert_pairs(run)
            assert kinds["positive"] == len(held)
            assert min(kinds["uniform"], kinds["hard"]) > 0.9 * len(held)
    assert found[0] == found[1] == found[2]


def test_directed_edges_keep_their_direction(ingest, tmp_path):
    """The two directions are two edges, embedded or held out together, and no negative reverses an edge."""
    one_way = sorted({(min(edge), max(edge)) for edge in communities(2, 20, seed=9)})
    edges = one_way + [(b, a) for a, b in one_way[::2]] + CLIQUE
    (tmp_path / "e.csv").write_text(lines([*edges, edges[0], (5, 5)], header="src,dst"))
    run = ingest({"edges": str(tmp_path / "e.csv"), "directed": True}, evaluate={"holdout": 0.3})
    kept, held = split(run)
    assert kept.keys() | held.keys() == {(str(a), str(b)) for a, b in edges}
    assert 0.2 < len(held) / len(edges) < 0.4
    assert_pairs(run)


def test_where_every_pair_is_an_edge_there_is_no_negative(ingest, tmp_path):
    """A clique has no pair to draw."""
    (tmp_path / "e.csv").write_text(lines(CLIQUE))
    run = ingest({"edges": str(tmp_path / "e.csv")}, evaluate={"holdout": 0.4})
    assert set(assert_pairs(run)) == {"positive"}


def test_an_edge_that_a_node_needs_is_not_free(spark):
    """In a forest only inner edges may be held out; leaves keep theirs."""
    rows = [(0, 1, 1.0), (0, 2, 1.0), (2, 3, 1.0), (8, 9, 1.0)]
    forest = spark.createDataFrame(rows, "src BIGINT, dst BIGINT, weight DOUBLE")
    marked = mark_free(forest, seed=3).collect()
    assert sorted((row["src"], row["dst"]) for row in marked) == [(0, 1), (0, 2), (2, 3), (8, 9)]
    path = {(row["src"], row["dst"]) for row in marked if row["free"]}
    assert path <= {(0, 2)}  # the middle of a path: each end keeps another edge


def test_an_id_keeps_its_number_in_later_runs(spark, tmp_path):
    """Published runs pass on their numbers, new ids follow; an unpublished run passes on nothing."""

    def numbers(run_id: str, edges: list[tuple], published: bool) -> dict[str, int]:
        path = tmp_path / f"{run_id}.csv"
        path.write_text(lines(edges))
        run = run_steps(spark, make_config({"edges": str(path)}, tmp_path / "tables"), run_id, last="ingest")
        if published:
            publish_row(run.tables)
        return {row["id"]: row["node_id"] for row in run.tables.read("nodes").collect()}

    assert numbers("first", [(20, 30), (30, 10), (10, 20)], published=True) == {"10": 0, "20": 1, "30": 2}
    assert numbers("given-up", [(10, 7), (7, 8)], published=False) == {"10": 0, "7": 3, "8": 4}
    assert numbers("second", [(40, 20), (5, 40), (10, 5)], published=False) == {"10": 0, "20": 1, "5": 3, "40": 4}


def test_numbers_that_runs_side_by_side_gave_stay_unique(spark):
    """Two concurrent runs: the newest keeps its numbers, and no number stands for two ids."""
    rows = [("a", 0, 1), ("b", 1, 1), ("c", 2, 1), ("c", 0, 2), ("d", 1, 2), ("a", 5, 3)]
    earlier = spark.createDataFrame(rows, "id STRING, node_id BIGINT, age INT")
    known = newest_numbers(earlier)
    assert sorted(map(tuple, known.collect())) == [("a", 5), ("c", 0), ("d", 1)]
    ids = spark.createDataFrame([(name,) for name in "eabcd"], "id STRING")
    numbered = {row["id"]: row["node_id"] for row in number_ids(ids, known, 6).collect()}
    assert numbered == {"a": 5, "b": 6, "c": 0, "d": 1, "e": 7}
