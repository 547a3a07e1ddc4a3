"""Inspecting input files before Spark starts: formats, headers, positions, clear messages. No Spark."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphseam.errors import InputError
from graphseam.files import local_files
from graphseam.sections import InputConfig
from graphseam.sources import WHITESPACE, Source, check_inputs, inputs, inspect, positional


@pytest.fixture
def look(tmp_path):
    """Write a file of these bytes (or this text) and inspect it as the edges."""

    def look(content: bytes | str, name: str = "edges.csv", **settings: object) -> Source:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return edges_of(InputConfig(edges=str(path), **settings))

    return look


def edges_of(config: InputConfig) -> Source:
    """The edges of a configuration that passes the check."""
    check_inputs(config)
    name, path, columns = inputs(config)[0]
    source = inspect(name, path, columns.values(), config)
    assert source is not None
    return source


def refusal(config: InputConfig) -> str:
    """The message of the check; always one line of reasonable length."""
    with pytest.raises(InputError) as caught:
        check_inputs(config)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.fixture
def refused(tmp_path):
    """Write a file of these bytes (or this text) and return the message of the check."""

    def refused(content: bytes | str, name: str = "edges.csv", **settings: object) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return refusal(InputConfig(edges=str(path), **settings))

    return refused


def write_parquet(path: Path, **columns: list) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_is_known_by_its_bytes(tmp_path):
    """The columns come from the footer, the format from the first bytes, not from the name."""
    path = write_parquet(tmp_path / "edges.csv", src=[1], dst=[2], note=["x"])
    source = edges_of(InputConfig(edges=str(path)))
    assert (source.format, source.columns) == ("parquet", ("src", "dst", "note"))


@pytest.mark.parametrize(
    ("content", "delimiter", "columns"),
    [
        ("src,dst\n1,2\n", ",", ("src", "dst")),
        ("src\tdst\tweight\n1\t2\t3\n", "\t", ("src", "dst", "weight")),
        ("dst;x;src\n1;2;3\n", ";", ("dst", "x", "src")),
        ("src|dst\n1|2\n", "|", ("src", "dst")),
        ("src dst\n1 2\n", WHITESPACE, ("src", "dst")),
        (' "src" , "dst" \n1,2\n', ",", ("src", "dst")),
        ('"src","dst"\n1,2\n', ",", ("src", "dst")),
        ("\n\n# made by hand\n% and KONECT\nsrc,dst\n1,2\n", ",", ("src", "dst")),
        ("\ufeffsrc,dst\r\n1,2\r\n", ",", ("src", "dst")),
        ("src,dst\r1,2\r", ",", ("src", "dst")),
        ("src,dst", ",", ("src", "dst")),
    ],
)
def test_a_header_gives_the_columns(look, content, delimiter, columns):
    """Delimiter and names from the first line that is neither blank nor a comment, without BOM and CRLF."""
    source = look(content)
    assert (source.format, source.delimiter, source.columns) == ("csv", delimiter, columns)
    assert source.header is not None
    assert not source.header.startswith("\ufeff")
    assert not source.header.endswith("\r")


@pytest.mark.parametrize(
    ("content", "delimiter", "count"),
    [
        ("1,2\n3,4\n", ",", 2),
        ("1\t2\n", "\t", 2),
        ("# Directed graph\n# FromNodeId\tToNodeId\n0\t1\n", "\t", 2),
        ("# Nodes: 3\n  0   1\n", WHITESPACE, 2),
        ("% sym\n1 2 0.5 1082008561\n", WHITESPACE, 4),
        ("\ufeff1;2\r\n", ";", 2),
        ("-1,+2\n", ",", 2),
        ("ann,1\n", ",", 2),
    ],
)
def test_numbers_in_the_first_line_mean_no_header(look, content, delimiter, count):
    """Columns are then positions from 0, and the default names mean the usual places."""
    source = look(content)
    assert (source.delimiter, source.header) == (delimiter, None)
    assert source.columns == tuple(str(place) for place in range(count))
    assert [positional(source, key, key) for key in ("src", "dst", "weight")] == ["0", "1", "2"]


def test_a_position_is_no_name_though_the_first_line_holds_its_digits(look):
    """Column 2 holds the split, and the first edge has node 2: still a line of data."""
    source = look("1,2,0\n2,3,1\n", split="2")
    assert (source.header, source.columns) == (None, ("0", "1", "2"))
    assert look("src,dst,part\n1,2,0\n", split="part").header is not None
    with pytest.raises(InputError, match=r"no column 'split' \(input.split\). The file has no header: give a position"):
        look("1,2,0\n", split="split")


def test_positions_may_be_given(look):
    """src = 3 is the fourth column; a missing position is an error that says how to count."""
    assert look("9,8,1,2\n", src="3", dst="0").column("3", "input.src") == "3"
    with pytest.raises(InputError, match=r"no column '4' \(input.dst\). The file has no header: give a position"):
        look("9,8,1,2\n", src="3", dst="4")
    with pytest.raises(InputError, match=r"no column '-1' .* Did you mean '1'\? Known: 0, 1, 2, 3\."):
        look("9,8,1,2\n", src="-1")
    with pytest.raises(InputError, match=r"no column 'weight_kg' \(input.weight\)"):
        look("9,8,1,2\n", weight="weight_kg")


def test_a_missing_third_column_is_no_weight(refused):
    """weight = "weight" means position 2, which a file of two columns lacks."""
    assert "has no column '2' (input.weight)" in refused("1,2\n", weight="weight")


def test_string_ids_without_header_want_a_word(look, refused):
    """A first line of words is taken as the header; the message says how to declare it data."""
    message = refused("ann,bob\nbob,cy\n")
    assert "has no column 'src' (input.src)" in message
    assert "If these are no names but data, set input.header = false" in message
    assert look("ann,bob\nbob,cy\n", header="false").columns == ("0", "1")


def test_header_true_takes_numbers_for_names(look):
    """A file whose columns are called 0 and 1 can be read too."""
    source = look("0,1\n5,6\n", header="true", src="0", dst="1")
    assert (source.columns, source.header) == (("0", "1"), "0,1")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"src": "source"}, "has no column 'source' (input.src). Known: dst, follower, user_id."),
        ({"src": "userid"}, "has no column 'userid' (input.src). Did you mean 'user_id'?"),
        ({"src": "USER_ID"}, "has no column 'USER_ID' (input.src)."),
        ({"src": "user_id", "dst": "folower"}, "has no column 'folower' (input.dst). Did you mean 'follower'?"),
        ({"src": "user_id", "weight": "w"}, "has no column 'w' (input.weight)."),
    ],
)
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_wrong_column_is_answered_with_the_nearest(tmp_path, kind, settings, message):
    """The message has the file, the column, the key to change, the nearest name and all names."""
    path = tmp_path / f"edges.{kind}"
    if kind == "parquet":
        write_parquet(path, user_id=[1], follower=[2], dst=[3])
    else:
        path.write_text("user_id,follower,dst\n1,2,3\n")
    told = refusal(InputConfig(edges=str(path), **settings))
    assert told.startswith(f"{path} {message}")
    assert "Known: dst, follower, user_id." in told


@pytest.mark.parametrize(("name", "pack"), [("e.csv.gz", gzip.compress), ("e.txt.bz2", bz2.compress)])
def test_packed_text_is_read_through(look, name, pack):
    """gzip and bzip2 by their file name endings, as in Spark."""
    assert look(pack(b"# a\nsrc,dst\n1,2\n"), name).columns == ("src", "dst")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.csv.gz", b"src,dst\n1,2\n", "cannot be read: Not a gzipped file"),
        ("e.csv.gz", gzip.compress(b"src,dst\n1,2\n", mtime=0)[:-9], "cannot be read: Compressed file ended before"),
        (
            "e.csv.gz",
            gzip.compress(b"1,2\n" * 999, mtime=0)[:12] + b"\xff" * 40,
            "cannot be read: Error -3 while decompressing",
        ),
        ("e.csv.gz", gzip.compress(b"", mtime=0), "holds no data line"),
        ("e.csv.bz2", b"BZh9 and then nothing", "cannot be read: Invalid data stream"),
        ("e.csv.xz", lzma.compress(b"src,dst\n1,2\n"), "is neither Parquet nor text"),
        ("e.csv", gzip.compress(b"src,dst\n1,2\n", mtime=0), "is neither Parquet nor text"),
        ("e.csv", "src,dst\n1,2\n".encode("utf-16"), "is UTF-16 text; convert it, as by: iconv"),
        ("e.csv", bytes(range(256)), "is neither Parquet nor text"),
        ("e.csv", b"", "is empty (0 bytes)"),
        ("e.csv", b"\n \r\n\t\n", "holds no data line, only blank lines and comments"),
        ("e.csv", b"# nothing\n% here\n", "holds no data line, only blank lines and comments"),
        ("e.csv", b"\xef\xbb\xbf# nothing\n", "holds no data line, only blank lines and comments"),
        ("e.csv", b'"src,dst\n1,2\n', "has no column 'src' (input.src)"),
        ("e.csv", b"justone\n", "has no column 'src' (input.src)"),
        ("e.csv", b"5\n6\n", "has no column '1' (input.dst)"),
        ("e.csv", b"x" * 200_000 + b",dst\n1,2\n", "has no column 'src' (input.src)"),
        ("e.parquet", b"PAR1" + b"x" * 100 + b"PAR1", "is not a readable Parquet file"),
        ("e.parquet", b"PAR1", "is not a readable Parquet file"),
    ],
)
def test_what_cannot_be_read_is_named(refused, tmp_path, name, content, message):
    """Damaged compression or Parquet, binary files, empty files: the path, its key and what is wrong."""
    told = refused(content, name)
    assert message in told
    assert str(tmp_path / name) in told
    assert "input." in told


def test_half_a_parquet_file_is_named(tmp_path):
    """A Parquet file cut short has no footer."""
    path = write_parquet(tmp_path / "e.parquet", src=[1], dst=[2])
    path.write_bytes(path.read_bytes()[:-20])
    assert "is not a readable Parquet file" in refusal(InputConfig(edges=str(path)))


@pytest.mark.parametrize("wanted", ["parquet", "delta"])
def test_a_format_that_is_asked_for_has_to_be_there(refused, wanted):
    """An explicit format = parquet or format = delta is not second-guessed."""
    message = {"parquet": "is not a readable Parquet file", "delta": "is no Delta table: it has no _delta_log"}[wanted]
    assert message in refused("src,dst\n1,2\n", format=wanted)


@pytest.mark.parametrize("path", ["edgse.csv", "nowhere/edges.csv", "*.tsv", "a\0b", "{edges}.csv"])
def test_a_missing_file_is_named(tmp_path, path):
    """Files, directories and globs that are not there."""
    (tmp_path / "edges.csv").write_text("1,2\n")
    told = refusal(InputConfig(edges=str(tmp_path / path)))
    assert told.startswith("there is no file or directory ")
    assert "(input.edges)" in told
    assert ("Did you mean 'edges.csv'?" in told) == (path in ("edgse.csv", "{edges}.csv"))


def test_a_path_too_long_to_open_is_cut_short():
    """The operating system refuses the name; the message shortens it."""
    told = refusal(InputConfig(edges="x" * 10_000))
    assert "(input.edges) cannot be opened: File name too long" in told
    assert len(told) < 400


@pytest.mark.parametrize("names", [[], ["_SUCCESS"], [".part.crc"], ["_temporary/part-0.csv"], ["sub/"]])
def test_a_directory_of_nothing_is_named(tmp_path, names):
    """Hidden files and directories are ignored."""
    folder = tmp_path / "edges"
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).mkdir() if name.endswith("/") else (folder / name).write_text("1,2\n")
    assert "holds no data file" in refusal(InputConfig(edges=str(folder)))


def test_a_directory_of_empty_files_is_empty(tmp_path):
    """Only empty parts are an error; next to others they are skipped."""
    (tmp_path / "part-0.csv").touch()
    assert "is empty (0 bytes)" in refusal(InputConfig(edges=str(tmp_path)))
    (tmp_path / "part-1.csv").write_text("src,dst\n1,2\n")
    assert edges_of(InputConfig(edges=str(tmp_path))).columns == ("src", "dst")


def test_directories_globs_and_file_addresses_find_their_files(tmp_path):
    """All files below a directory, all matches of a glob, and both spellings of file: addresses."""
    (tmp_path / "sub").mkdir()
    for name in ("a.csv", "b.csv", "sub/c.csv", "_hidden.csv"):
        (tmp_path / name).write_text("1,2\n")
    names = [file.name for file in local_files(str(tmp_path), "input.edges")]
    assert names == ["a.csv", "b.csv", "c.csv"]
    assert len(local_files(f"{tmp_path}/[ab].csv", "input.edges")) == 2
    for start in ("file://", "file:"):
        assert local_files(f"{start}{tmp_path}/a.csv", "input.edges") == [tmp_path / "a.csv"]


def test_a_delta_table_is_left_to_spark(tmp_path):
    """It is recognised by its log; Spark knows its columns."""
    (tmp_path / "_delta_log").mkdir()
    write_parquet(tmp_path / "part-0.parquet", a=[1])
    for path in (str(tmp_path), f"file://{tmp_path}"):
        assert inspect("edges", path, ["src"], InputConfig(edges=path)) is None


@pytest.mark.parametrize("path", ["s3a://bucket/edges", "hdfs://host/edges", "abfss://c@a/edges", "gs://b/*.csv"])
def test_a_remote_address_is_left_to_spark(path):
    """Only Spark can look there; nothing is checked before it does."""
    check_inputs(InputConfig(edges=path))


def test_nodes_and_labels_are_looked_at_too(tmp_path):
    """Each input has its own format, and its own key in the message."""
    edges = tmp_path / "edges.csv"
    edges.write_text("1,2\n")
    labels = write_parquet(tmp_path / "labels.parquet", node=[1], country=["x"])
    nodes = tmp_path / "nodes.csv"
    nodes.write_text("7\n8\n")
    check_inputs(InputConfig(edges=str(edges), labels=str(labels), label="country", nodes=str(nodes)))
    told = refusal(InputConfig(edges=str(edges), labels=str(labels), label="contry"))
    assert "has no column 'contry' (input.label). Did you mean 'country'?" in told
    told = refusal(InputConfig(edges=str(edges), nodes=str(tmp_path / "nods.csv")))
    assert "(input.nodes). Did you mean 'nodes.csv'?" in told


def test_ids_that_begin_with_a_hash_are_data_once_comments_are_turned_off(tmp_path):
    """A graph of hashtags: with the default every line would be a comment, and the message says which key it is."""
    (tmp_path / "tags.csv").write_text("src,dst\n#cats,#dogs\n#dogs,#birds\n")
    from graphseam.sources import first_text_lines

    assert first_text_lines(tmp_path / "tags.csv", "input.edges", "#%") == ["src,dst"]
    assert len(first_text_lines(tmp_path / "tags.csv", "input.edges", "")) == 3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('<?xml version="1.0"?>\n<graphml>\n', "looks like XML, as GraphML and GEXF are"),
        ("graph [\n  node [\n    id 1\n", "looks like GML"),
        ("*Vertices 3\n1 2\n", "looks like a Pajek file"),
        ('{"src": 1, "dst": 2}\n', "looks like JSON"),
        ('[\n  {"src": 1, "dst": 2}\n]\n', "looks like JSON"),
        ('Creator "igraph"\ngraph\n[\n', "looks like GML"),
        ("graph\n[\n  node\n", "looks like GML"),
        ("1 2 {'weight': 0.5}\n2 3 {'weight': 1}\n", "is an edge list of networkx with data"),
        ("%%MatrixMarket matrix coordinate real general\n% \n3 3 1\n1 2 1\n", ""),
        ("1 2 {}\n2 3 {}\n", ""),
    ],
)
def test_formats_of_other_tools_are_known_or_refused_by_name(look, refused, content, told):
    if told:
        assert told in refused(content)
    else:
        assert look(content).column("0", "input.src") == "0"


@pytest.mark.parametrize(
    "content",
    [
        "creator,dst\nann,bob\n",
        "{7b1c-11},{7b1c-12}\n{7b1c-12},{7b1c-13}\n",
        "[deleted] ann\nann bob\n",
        "graph node\ng1 n1\n",
        "graph\tnode\ng1\tn1\n",
    ],
)
def test_text_ids_that_resemble_another_format_are_read_as_ids(look, content):
    assert look(content, header="false").column("0", "input.src") == "0"


def test_the_size_line_of_a_matrix_market_file_is_told_apart(look, refused):
    content = "%%MatrixMarket matrix coordinate pattern symmetric\n3 3 2\n2 1\n3 1\n"
    source = look(content, "m.mtx")
    assert (source.size_line, source.header, source.delimiter) == ("3 3 2", None, WHITESPACE)
    assert "add % to input.comment" in refused(content, comment="#")


def test_text_of_another_encoding_is_named_with_the_setting(look, refused):
    latin = b"1,caf\xe9\n2,c\n"
    told = refused(latin)
    assert "is not utf-8 text: b'1,caf\\xe9\\n2,c\\n' holds the byte 0xe9; set input.encoding" in told
    assert look(latin, encoding="latin-1").columns == ("0", "1")


def test_a_name_that_two_columns_have_is_refused(tmp_path):
    (tmp_path / "e.csv").write_text("src,dst,src\na,b,c\n")
    told = refusal(InputConfig(edges=str(tmp_path / "e.csv")))
    assert "has 2 columns 'src' (input.src); name them apart, or give a position from 0" in told
