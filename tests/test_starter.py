"""`graphseam init` and `graphseam config`: what they write is read again, and says what a file holds."""

from __future__ import annotations

import dataclasses
import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import LASTFM, REPOSITORY
from graphseam.config import Config, config_of, load_config
from graphseam.errors import ConfigError, InputError
from graphseam.explain import all_settings, as_toml, explain, setting_lines, table_of_settings
from graphseam.starter import look_at, starter, write_starter


@pytest.fixture
def begin(tmp_path):
    """Write a file, look at it, and return (what `init` says, the configuration that its file gives)."""

    def begin(content: str, name: str = "edges.csv", labels: str | None = None) -> tuple[str, Config]:
        (tmp_path / name).write_text(content)
        made = starter(str(tmp_path / name), labels, "tables")
        write_starter(str(tmp_path / f"{name}.toml"), made.text)
        return "\n".join(made.told), load_config(tmp_path / f"{name}.toml")

    return begin


@pytest.mark.parametrize(
    ("content", "ends", "weight", "told"),
    [
        ("src,dst\n1,2\n", ("src", "dst"), "", "whole numbers, such as 1"),
        (
            "user_id;item_id;amount;when\nu7;i9;2.5;2024-01-01\n",
            ("user_id", "item_id"),
            "amount",
            "separated by semicolons",
        ),
        ("w,Target,Source\n1,b,a\n", ("Source", "Target"), "w", "text, such as 'a'"),
        ("# SNAP\n1\t2\n2\t3\n", ("src", "dst"), "", "tabs, no header, 2 rows"),
        ("x,y\n00042,7\n", ("x", "y"), "", "mixed: 1 of the first 2"),
        ("src,dst,weight\n1,2,heavy\n", ("src", "dst"), "", "commas, a header"),
        (
            "follower followee time\na b 12\n",
            ("follower", "followee"),
            "",
            "'time' looks like a time, which is not used",
        ),
    ],
)
def test_a_file_is_told_and_its_configuration_reads_it(begin, content, ends, weight, told):
    said, config = begin(content)
    assert told in said
    assert (config.input.src, config.input.dst, config.input.weight) == (*ends, weight)
    assert config.output.root == "tables"
    assert config.evaluate.holdout == 0.1


def test_text_that_is_not_utf_8_is_read_as_that_of_windows(tmp_path):
    (tmp_path / "e.csv").write_bytes("Zo\xeb,caf\xe9\n".encode("cp1252"))
    made = starter(str(tmp_path / "e.csv"), None, "tables")
    assert 'encoding = "windows-1252"' in made.text
    assert "it is not UTF-8, and read as windows-1252 (input.encoding)" in "\n".join(made.told)


def test_a_damaged_file_is_told_by_its_name(tmp_path):
    (tmp_path / "e.csv.gz").write_bytes(gzip.compress(b"1,2\n" * 5000)[:-40])
    with pytest.raises(InputError, match=r"e\.csv\.gz \(input\.edges\) cannot be read"):
        starter(str(tmp_path / "e.csv.gz"), None, "tables")


def test_labels_are_found_by_their_usual_names(begin, tmp_path):
    (tmp_path / "who.csv").write_text("country,user\nDE,1\n")
    said, config = begin("src,dst\n1,2\n", labels=str(tmp_path / "who.csv"))
    assert (config.input.node, config.input.label) == ("user", "country")
    assert "labels in 'country' of the nodes in 'user'" in said


def test_nothing_of_the_demo_comes_along(begin):
    """A copied demo.toml gave a stranger's ids the demo's labels and its eight subgraphs."""
    _, config = begin("src,dst\n1,2\n")
    plain = config_of({"input": {"edges": config.input.edges}, "output": {"root": "tables"}})
    assert dataclasses.replace(config, evaluate=plain.evaluate) == plain


def test_parquet_is_counted_from_its_footer_and_lists_are_no_ids(tmp_path):
    pq.write_table(pa.table({"tags": [["a"]] * 3, "u": [1, 2, 3], "v": [2, 3, 1]}), tmp_path / "e.parquet")
    found = look_at(str(tmp_path / "e.parquet"), "edges")
    assert (found.rows, list(found.columns)) == ("3 rows", ["u", "v"])
    assert look_at(str(LASTFM / "edges.parquet"), "edges").rows == "27,806 rows"


def test_a_long_text_is_counted_roughly(tmp_path):
    (tmp_path / "long.csv").write_text("src,dst\n" + "".join(f"{row},{row + 1}\n" for row in range(100_000, 150_000)))
    assert look_at(str(tmp_path / "long.csv"), "edges").rows == "about 50,000 rows"


@pytest.mark.parametrize(
    ("content", "told"), [("abc\n", "an edge needs two"), ("", "is empty"), ("{\n", "looks like JSON")]
)
def test_what_holds_no_edges_is_refused(begin, content, told):
    with pytest.raises(InputError, match=told):
        begin(content)


def test_a_file_that_is_there_is_kept(tmp_path):
    (tmp_path / "mine.toml").write_text("mine")
    with pytest.raises(InputError, match="is there already; give another name by --output"):
        write_starter(str(tmp_path / "mine.toml"), "x")
    assert (tmp_path / "mine.toml").read_text() == "mine"


def test_every_setting_is_explained():
    silent = [setting.key for setting in all_settings() if not setting.meaning]
    assert silent == []


def test_the_whole_configuration_as_toml_is_read_again(tmp_path):
    tree = {"input": {"edges": 'a "b"\\ü.csv'}, "output": {"root": "r"}, "embed": {"options": {"prone": {"mu": 0.3}}}}
    config = config_of(tree, ["predict.links.top_k=3", "evaluate.holdout=0.25"])
    (tmp_path / "c.toml").write_text(as_toml(config), encoding="utf-8")
    assert load_config(tmp_path / "c.toml") == config


def test_a_setting_or_a_section_is_explained_and_a_misspelt_one_is_not():
    assert setting_lines("embed.dim") == ["[embed]", f"{'dim = 128':<32}# columns of a vector"]
    assert len(explain("predict")) > len(explain("predict.links")) > 5
    with pytest.raises(ConfigError, match=r"no setting 'embed.dimm'. Did you mean 'embed.dim'\?"):
        explain("embed.dimm")


def test_the_page_of_settings_is_that_of_the_code():
    """docs/configuration.md is its first part, then what `python -m graphseam.explain` prints."""
    page = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page.endswith(table_of_settings()), "put the output of `python -m graphseam.explain` there"
