"""The tables of methods: each name leads to an algorithm, and a configuration is checked without loading one."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from conftest import REPOSITORY
from graphseam.config import config_of
from graphseam.embedding import build_embedder
from graphseam.errors import ConfigError
from graphseam.methods import EMBEDDERS, FILTERS, FUSIONS, ITERATIONS, PARTITIONERS, SEARCHES, Setting
from graphseam.partition import build_partitioner
from graphseam.sections import PartitionConfig

TABLES = {
    "PARTITIONERS": PARTITIONERS,
    "EMBEDDERS": EMBEDDERS,
    "FUSIONS": FUSIONS,
    "ITERATIONS": ITERATIONS,
    "FILTERS": FILTERS,
    "SEARCHES": SEARCHES,
}
ALL = [(table, name) for table, methods in TABLES.items() for name in methods]


def config(**embed):
    return config_of({"input": {"edges": "e.csv"}, "output": {"root": "r"}, "embed": embed}).embed


@pytest.mark.parametrize(("table", "name"), ALL)
def test_every_name_leads_to_an_algorithm(table, name):
    assert callable(TABLES[table][name].load())


@pytest.mark.parametrize("method", PARTITIONERS)
def test_every_partitioner_is_built_from_the_section(method):
    """All are looked up, and each defines how a level is assigned."""
    partitioner = build_partitioner(PartitionConfig(method=method, imbalance=0.2), node_cost=3)
    assert (partitioner.imbalance, partitioner.node_cost) == (0.2, 3)
    assert callable(partitioner.assigned)


@pytest.mark.parametrize("method", EMBEDDERS)
def test_an_embedders_own_settings_reach_it(method):
    kind = EMBEDDERS[method].load()
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    shared = {field.name for field in dataclasses.fields(config(method=method))}
    assert set(EMBEDDERS[method].settings) == set(defaults) - shared
    for name, setting in EMBEDDERS[method].settings.items():
        assert setting.default == defaults[name]
        bound = [setting.highest] if isinstance(setting.default, tuple) else type(setting.default)(setting.highest)
        chosen = config(method=method, options={method: {name: bound}})
        wanted = tuple(bound) if isinstance(bound, list) else bound
        assert getattr(build_embedder(chosen), name) == wanted != setting.default


def test_options_of_other_methods_may_stay_and_are_checked_too():
    both = config(method="fastrp", options={"prone": {"mu": 0.3}})
    assert build_embedder(both).dim == 128
    assert build_embedder(dataclasses.replace(both, method="prone")).mu == 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pron": {"mu": 0.3}}, r"'pron', which is not known. Did you mean 'prone'"),
        ({"prone": {"my": 0.3}}, r"unknown key 'embed.options.prone.my'. Did you mean 'mu'"),
        ({"prone": {"mu": "x"}}, r"embed.options.prone.mu is 'x'; give a number from -1 to 2"),
        ({"prone": {"mu": 9}}, r"embed.options.prone.mu is 9; give a number from -1 to 2"),
        ({"prone": {"order": 2.5}}, r"embed.options.prone.order is 2.5; give a whole number from 2 to 100"),
        ({"prone": {"order": True}}, r"embed.options.prone.order is True; give a whole number"),
        ({"fastrp": {"weights": []}}, r"embed.options.fastrp.weights is \[\]; give a list of 1 to 16 numbers"),
        ({"fastrp": {"weights": 1.0}}, r"give a list of 1 to 16 numbers"),
        ({"prone": 3}, r"embed.options.prone is 3; write a section, \[embed.options.prone\]"),
        (3, r"embed.options is 3; write a section, \[embed.options\]"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ConfigError, match=message):
        config(options=options)


def test_a_number_is_given_in_the_settings_type():
    assert Setting(0.5, 0, 1).checked(1, "k") == 1.0
    assert type(Setting(0.5, 0, 1).checked(1, "k")) is float
    assert Setting((1.0,), 0, 9).checked([1, 2.5], "k") == (1.0, 2.5)


def test_a_configuration_is_checked_without_loading_an_algorithm():
    """The command line reports a wrong key before numba, torch or Spark are loaded."""
    program = (
        "import sys; from graphseam.config import load_config;"
        "load_config('conf/demo.toml', ['embed.method=node2vec']);"
        "print([name for name in ('torch', 'numba', 'scipy', 'pyspark', 'sklearn') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert found.stdout.strip() == "[]"
