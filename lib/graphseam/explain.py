"""Every setting with its default and meaning, read from the sections themselves: fields and the comments there."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import json
import textwrap
import tokenize
from dataclasses import dataclass
from typing import Any, get_type_hints

from graphseam.config import Config
from graphseam.errors import ConfigError, nearest
from graphseam.methods import EMBEDDERS


@dataclass(frozen=True)
class Setting:
    """key: section.name. default: as TOML. meaning: the comment in its section."""

    key: str
    default: str
    meaning: str


def all_settings() -> list[Setting]:
    """Every setting in the order of the sections, those of each embedding method (embed.options) last."""
    found = list(_of_section(Config, ""))
    for method, kind in EMBEDDERS.items():
        for name, setting in kind.settings.items():
            meaning = f"{method}: from {setting.lowest:g} to {setting.highest:g}"
            found.append(Setting(f"embed.options.{method}.{name}", toml_value(setting.default), meaning))
    return found


def explain(key: str) -> list[Setting]:
    """The setting of that key, or those of a section; ConfigError with the nearest name if there is none."""
    known = all_settings()
    found = [setting for setting in known if setting.key == key or setting.key.startswith(f"{key}.")]
    if not found:
        hint = nearest(key, [setting.key for setting in known]).split(" Known:")[0]
        raise ConfigError(f"there is no setting {key!r}.{hint} `graphseam config` shows all of them")
    return found


def setting_lines(key: str) -> list[str]:
    """What `graphseam config --explain` prints: a setting per line, as it would stand in a file, and its meaning."""
    lines: list[str] = []
    for setting in explain(key):
        section, _, name = setting.key.rpartition(".")
        if f"[{section}]" not in lines:
            lines += ["", f"[{section}]"]
        lines.append(f"{f'{name} = {setting.default}':<32}# {setting.meaning}".rstrip("# "))
    return lines[1:]


def as_toml(config: Config) -> str:
    """The whole configuration as a file that `graphseam run` reads."""
    lines: list[str] = []
    _write_section(dataclasses.asdict(config), "", lines)
    return "\n".join(lines).strip() + "\n"


def toml_value(value: Any) -> str:
    """A number, text or truth value as TOML; JSON writes them the same."""
    return json.dumps(value, ensure_ascii=False)


def _write_section(tree: dict[str, Any], name: str, lines: list[str]) -> None:
    plain = {key: value for key, value in tree.items() if not isinstance(value, dict)}
    if plain:
        lines += ["", f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in plain.items())]
    for key, value in tree.items():
        if isinstance(value, dict):
            _write_section(value, f"{name}.{key}".lstrip("."), lines)


def _of_section(section: type, prefix: str) -> list[Setting]:
    types, comments = get_type_hints(section), _comments(section)
    found = []
    for entry in dataclasses.fields(section):
        kind, key = types[entry.name], prefix + entry.name
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            found += _of_section(kind, f"{key}.")
        elif entry.default is not dataclasses.MISSING:  # embed.options has the settings of each method instead
            found.append(Setting(key, toml_value(entry.default), comments.get(entry.name, "")))
    return found


def _comments(section: type) -> dict[str, str]:
    """{field: the comment at the end of its line}."""
    source = textwrap.dedent(inspect.getsource(section))
    told = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        line.target.id: told[line.lineno]
        for line in body.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.lineno in told
    }


def table_of_settings() -> str:
    """The settings as Markdown, a table per section, as in docs/configuration.md."""
    lines: list[str] = []
    section = ""
    for setting in all_settings():
        above, _, name = setting.key.rpartition(".")
        if above != section:
            section = above
            lines += ["", f"## [{section}]", "", "| key | default | meaning |", "|---|---|---|"]
        lines.append(f"| `{name}` | `{setting.default}` | {setting.meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    print(table_of_settings(), end="")
