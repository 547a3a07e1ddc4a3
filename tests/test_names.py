"""Names used in paths, predicates and SQL: run ids and catalogs, accepted or refused. No Spark."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphseam.config import check_run_id
from graphseam.errors import ConfigError
from graphseam.sections import OutputConfig


@pytest.mark.parametrize("run_id", ["a", "0", "run-20260101-120000-123", "A_b.c-d", "x" * 128, "a..b"])
def test_a_plain_run_id_is_taken(run_id):
    """Letters, digits, '_', '.' and '-', up to 128 of them."""
    assert check_run_id(run_id) == run_id


@pytest.mark.parametrize(
    "run_id",
    [
        "",
        " ",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc",
        "a\\b",
        "-rf",
        "_delta_log",
        ".hidden",
        "a b",
        " a",
        "a ",
        "a\n",
        "\na",
        "a\tb",
        "a\0",
        "\0",
        "a'b",
        "' OR 1=1 --",
        'a"b',
        "a`b",
        "a;b",
        "a=b",
        "a%2Fb",
        "a{b}",
        "a*",
        "a?",
        "a$b",
        "a:b",
        "x" * 129,
        "x" * 10_000,
        "ä",
        "run\u202e",
        "\uff52un",
        "\U0001d4fb",
        "\u0663",
        "a\u0301",
        "🙂",
        "a\u2028b",
        "a\x7f",
    ],
)
def test_a_hostile_run_id_is_refused(run_id):
    """Used in paths, predicates and file names: characters with a meaning there are refused."""
    with pytest.raises(ConfigError, match="cannot be used; give 1 to 128 letters"):
        check_run_id(run_id)


@given(st.text(max_size=200))
def test_a_run_id_is_refused_or_safe(run_id):
    """Whatever is given, an accepted id is one ASCII path component that needs no quoting."""
    try:
        checked = check_run_id(run_id)
    except ConfigError:
        return
    assert checked == run_id
    assert checked.isascii()
    assert not set(checked) & set("/\\'\"`;= \n\0%")
    assert checked not in (".", "..")


@pytest.mark.parametrize("catalog", ["graphs", "prod.graphs", "_a._b", "A1.b2"])
def test_a_catalog_name_is_taken(catalog):
    """One or two plain names."""
    assert OutputConfig(catalog=catalog).catalog == catalog


@pytest.mark.parametrize(
    "catalog",
    [
        "a.b.c",
        "a.",
        ".a",
        "a..b",
        "1a",
        "a-b",
        "a b",
        "a`b",
        "a;DROP TABLE x",
        "a.`b`",
        "ä",
        "a\n",
        "x" * 129,
        "a/b",
        "\0",
    ],
)
def test_a_catalog_name_that_needs_quoting_is_refused(catalog):
    """Used in SQL: letters, digits and underscores only."""
    with pytest.raises(ConfigError, match=r"output\.catalog is .*; give a schema as `name` or `catalog\.name`"):
        OutputConfig(catalog=catalog)
