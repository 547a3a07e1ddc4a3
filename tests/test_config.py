"""The configuration: what is accepted, what is refused, and the error messages. No Spark."""

from __future__ import annotations

import dataclasses
import json

import pytest

from graphseam.config import Config, load_config
from graphseam.errors import ConfigError
from graphseam.sections import OutputConfig

LEAST = '[input]\nedges = "edges.csv"\n[output]\nroot = "tables"\n'


@pytest.fixture
def load(tmp_path):
    """Read the smallest valid configuration, with more text appended and overrides applied."""

    def load(*overrides: str, text: str = LEAST) -> Config:
        path = tmp_path / "c.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, overrides)

    return load


def lookup(config: Config, key: str) -> object:
    value: object = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def test_defaults_stand_where_nothing_is_said(load):
    """The smallest file sets two keys; all others have defaults, and it survives a round trip through JSON."""
    config = load()
    assert config == Config(
        input=dataclasses.replace(config.input, edges="edges.csv"), output=OutputConfig(root="tables")
    )
    assert json.loads(config.to_json())["predict"]["links"]["top_k"] == 10


def test_the_demo_configuration_can_be_read():
    """The file that every error message points to is itself valid."""
    from conftest import REPOSITORY

    assert load_config(REPOSITORY / "conf" / "demo.toml").evaluate.holdout == 0.2


@pytest.mark.parametrize(
    ("override", "key", "wanted"),
    [
        ("embed.dim=64", "embed.dim", 64),
        (" embed.dim = 64 ", "embed.dim", 64),
        ("predict.links.top_k=3", "predict.links.top_k", 3),
        ("predict.nodes.top_labels=1", "predict.nodes.top_labels", 1),
        ("evaluate.holdout=0.25", "evaluate.holdout", 0.25),
        ("evaluate.holdout=0", "evaluate.holdout", 0.0),
        ("evaluate.max_ranked=0", "evaluate.max_ranked", 0),
        ("input.directed=true", "input.directed", True),
        ("input.header=false", "input.header", "false"),
        ("input.header=true", "input.header", "true"),
        ("input.src=0", "input.src", "0"),
        ("input.weight=2", "input.weight", "2"),
        ('input.src="0"', "input.src", "0"),
        ("input.src=who", "input.src", "who"),
        ("input.edges=/data/a b=c.csv", "input.edges", "/data/a b=c.csv"),
        ("input.edges=", "input.nodes", None),
        ("input.delimiter=;", "input.delimiter", ";"),
        (r'input.delimiter="\t"', "input.delimiter", "\t"),
        (r"input.delimiter='\s+'", "input.delimiter", r"\s+"),
        ("input.labels=Ünï.csv", "input.labels", "Ünï.csv"),
        ("run.seed=-5", "run.seed", -5),
        ("run.seed=1_000", "run.seed", 1000),
    ],
)
def test_an_override_is_toml_or_else_text(load, override, key, wanted):
    """--set reads numbers, booleans and quoted text as TOML does, and anything else as plain text."""
    if wanted is None:
        with pytest.raises(ConfigError, match=r"input\.edges is not set"):
            load(override)
        return
    value = lookup(load(override), key)
    assert value == wanted
    assert type(value) is type(wanted)


def test_the_last_override_wins_over_the_file_and_the_earlier_one(load):
    """The file first, then the overrides in order; a section in the file keeps its other keys."""
    text = LEAST + '[predict.links]\ntop_k = 7\ncandidates = "exact"\n'
    links = load("predict.links.top_k=8", "predict.links.top_k=9", text=text).predict.links
    assert (links.top_k, links.candidates) == (9, "exact")


@pytest.mark.parametrize("override", ["", "embed.dim", "embed=64", "=64", ".dim=64", "embed.=64", "dim=64", "."])
def test_an_override_of_the_wrong_shape_shows_the_right_one(load, override):
    """Anything but section.key=value is answered with an example."""
    with pytest.raises(ConfigError, match=r"section\.key=value, as in embed\.dim=64|Known:"):
        load(override)


def test_an_override_cannot_reach_into_a_value(load):
    """embed.dim is not a section, so embed.dim.x is an error and replaces nothing."""
    with pytest.raises(ConfigError, match="dim is a value, not a section"):
        load("embed.dim=4", "embed.dim.x=5")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("embed.dims=4", "unknown key 'embed.dims' in the configuration. Did you mean 'dim'?"),
        ("embd.dim=4", "unknown key 'embd' in the configuration. Did you mean 'embed'?"),
        ("predict.links.topk=4", "unknown key 'predict.links.topk' in the configuration. Did you mean 'top_k'?"),
        ("predict.link.top_k=4", "unknown key 'predict.link' in the configuration. Did you mean 'links'?"),
        ("input.edge=a.csv", "unknown key 'input.edge' in the configuration. Did you mean 'edges'?"),
        ("partition.method=meits", "partition.method is 'meits', which is not known. Did you mean 'metis'?"),
        ("fuse.method=concatenate", "fuse.method is 'concatenate', which is not known. Did you mean 'concat'?"),
        ("input.format=parket", "input.format is 'parket', which is not known. Did you mean 'parquet'?"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(load, override, message):
    """Unknown sections, keys and methods are answered with the nearest name and the list of valid ones."""
    with pytest.raises(ConfigError) as caught:
        load(override)
    assert str(caught.value).startswith(message)
    assert " Known: " in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('embed.dim="64"', "embed.dim is '64'; give a whole number"),
        ("embed.dim=64.0", "embed.dim is 64.0; give a whole number"),
        ("embed.dim=true", "embed.dim is True; give a whole number"),
        ("embed.dim=many", "embed.dim is 'many'; give a whole number"),
        ("embed.dim=[1]", r"embed.dim is [1]; give a whole number"),
        ("embed.dim=2026-01-01", "embed.dim is datetime.date(2026, 1, 1); give a whole number"),
        ('evaluate.holdout="a"', "evaluate.holdout is 'a'; give a number"),
        ("evaluate.holdout=true", "evaluate.holdout is True; give a number"),
        ("input.directed=1", "input.directed is 1; give true or false"),
        ('input.directed="true"', "input.directed is 'true'; give true or false"),
        ("input.edges=5", "input.edges is 5; give text in quotes"),
        ("output.root={}", "output.root is {}; give text in quotes"),
        ("predict.links=5", "predict.links is 5; write a section, [predict.links]"),
    ],
)
def test_a_value_of_the_wrong_type_says_which_is_right(load, override, message):
    """Nothing is converted, except integers to floats; booleans are not numbers."""
    with pytest.raises(ConfigError) as caught:
        load(override)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "override",
    [
        "input.id_type=uuid",
        "input.header=maybe",
        "input.encoding=utf-16",
        "input.dst=src",
        "input.format=orc",
        "input.delimiter=ab",
        r"input.delimiter=\t",
        r'input.delimiter="\n"',
        "input.delimiter='\"'",
        "run.task_memory_mb=63",
        "run.seed=9223372036854775808",
        "run.seed=-9223372036854775809",
        "partition.num_subgraphs=-1",
        "partition.max_subgraph_edges=-1",
        "partition.block_edges=0",
        "partition.coarsest_edges=-1",
        "partition.min_captured=1.1",
        "partition.min_captured=-0.1",
        "partition.max_levels=0",
        "partition.max_levels=17",
        "partition.imbalance=0",
        "partition.imbalance=1",
        "partition.imbalance=nan",
        "partition.imbalance=-inf",
        "partition.method=''",
        "embed.method=word2vec",
        "embed.p=0",
        "embed.window=0",
        "embed.gpu_share=0.6",
        "embed.device=cuda",
        "embed.precision=half",
        "embed.dim=1",
        "embed.dim=2049",
        "fuse.method=mean",
        "refine.rounds=-1",
        "refine.rounds=21",
        "refine.hops=-1",
        "refine.hops=21",
        "predict.links.top_k=-1",
        "predict.links.top_k=1001",
        "predict.links.candidates=all",
        "place.max_hops=0",
        "place.max_hops=101",
        "place.top_links=-1",
        "place.top_links=1001",
        "predict.similar.top_k=-1",
        "predict.similar.top_k=1001",
        "predict.similar.method=all",
        "predict.nodes.top_labels=0",
        "predict.nodes.max_train_nodes=9",
        "evaluate.holdout=-0.1",
        "evaluate.holdout=1",
        "evaluate.holdout=nan",
        "evaluate.max_pairs=9",
        "evaluate.max_ranked=-1",
        "evaluate.max_ranked=20001",
        "evaluate.held_out=' , '",
    ],
)
def test_a_value_out_of_bounds_names_its_key(load, override):
    """Each section's own checks name the key and the value given."""
    key = override.partition("=")[0]
    with pytest.raises(ConfigError) as caught:
        load(override)
    assert str(caught.value).startswith(f"{key} is ")
    assert "\n" not in str(caught.value)


def test_a_given_split_takes_both_its_keys_and_no_drawn_one(load):
    """A position and a value need no quotes; one key without the other, or together with a share, is an error."""
    config = load("input.split=2", "evaluate.held_out=2")
    assert (config.input.split, config.evaluate.held_out_values, config.holds_out) == ("2", ["2"], True)
    assert load("input.split=part", "evaluate.held_out=test, valid").evaluate.held_out_values == ["test", "valid"]
    assert load("evaluate.holdout=0.1").holds_out
    assert not load().holds_out
    with pytest.raises(ConfigError, match=r"input\.split is set and evaluate\.held_out is not; give both"):
        load("input.split=2")
    with pytest.raises(ConfigError, match=r"evaluate\.held_out is set and input\.split is not; give both"):
        load("evaluate.held_out=2")
    with pytest.raises(ConfigError, match=r"evaluate\.holdout is 0\.1 and evaluate\.held_out is '2'; .* leave one out"):
        load("input.split=2", "evaluate.held_out=2", "evaluate.holdout=0.1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"input\.edges is not set"),
        ("[input]\nedges = 'a'\n", r"output\.root is not set"),
        ("[output]\nroot = 'a'\n", r"input\.edges is not set"),
        ("[input]\nedges = ''\n[output]\nroot = 'a'", r"input\.edges is not set"),
        ("input = 5\n", r"input is 5; write a section, \[input\]"),
        ("[[input]]\nedges = 'a'\n", r"write a section, \[input\]"),
        ("[input\n", "is not valid TOML: .* line 1"),
        ("[input]\nedges = a.csv\n", "is not valid TOML: .* line 2"),
        ("[input]\nedges = 'a'\nedges = 'b'\n", "is not valid TOML"),
        ("src,dst\n1,2\n", "is not valid TOML"),
        ("\0", "is not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(load, text, message):
    """Missing keys, sections that are values, and text that is no TOML."""
    with pytest.raises(ConfigError, match=message) as caught:
        load(text=text)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    """Bytes that are not UTF-8 are not TOML."""
    (tmp_path / "c.toml").write_bytes(b"PAR1\xff\xfe")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_config(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.toml", "there is no configuration file .*none.toml'; see conf/demo.toml"),
        ("", "is a directory; give a TOML file"),
        ("file/c.toml", "cannot be opened: Not a directory"),
        ("x" * 5000, "cannot be opened: File name too long"),
        ("a\0b", "cannot be opened: embedded null byte"),
    ],
)
def test_a_file_that_cannot_be_opened_is_refused(tmp_path, name, message):
    """Whatever is wrong with the path, the result is a ConfigError of reasonable length."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(f"{tmp_path}/{name}")
    assert len(str(caught.value)) < 400


def test_root_and_catalog_exclude_each_other(load):
    """Root and catalog together are refused; a catalog alone is enough."""
    with pytest.raises(ConfigError, match=r"output\.root and output\.catalog are both set"):
        load("output.catalog=graphs")
    assert load("output.catalog=graphs", "output.root=").output == OutputConfig(catalog="graphs")


@pytest.mark.parametrize("key", ["input.edges", "input.labels", "output.root"])
def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path, key):
    file = tmp_path / "run.toml"
    file.write_text("[input]\nedges = 'e'\n[output]\nroot = 'r'\n")
    with pytest.raises(ConfigError, match=rf"{key} is 's3a://\*\*\*@bucket/x', with a password") as caught:
        load_config(file, [f"{key}=s3a://key:s3cret@bucket/x"])
    assert "s3cret" not in str(caught.value)
    load_config(file, [f"{key}=abfss://container@account.dfs.core.windows.net/x"])
