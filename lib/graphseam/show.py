"""Rows for the console, a table if it fits, else one block per row; or for other programs, as CSV or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

MAX_CELL = 60  # characters of a value in a table; in a block a value has the rest of its line
MAX_NUMBERS = 3  # of a vector; 128 would fill the screen
AROUND = 3  # characters that a column takes besides its widest cell


FORMATS = ("table", "csv", "json")


def write_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], kind: str, stream: IO[str]) -> None:
    """Write the rows whole: csv with a header (a list as its items between blanks, as in exports), or json by line."""
    if kind == "csv":
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(
            [[" ".join(map(str, cell)) if isinstance(cell, list) else cell for cell in row] for row in rows]
        )
        return
    for row in rows:
        print(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, default=str), file=stream)


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], console: Console) -> None:
    """Print the rows as a table; if that is wider than the console, each row as a block of `column  value` lines.

    No cell is wrapped: in a table values are cut at 60 characters, in a block at the end of the line.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    texts = [[_cut(cell, MAX_CELL) for cell in row] for row in cells]
    widths = [max(cell_len(name), *(cell_len(row[at]) for row in texts), 0) for at, name in enumerate(columns)]
    if sum(widths) + AROUND * len(widths) + 1 <= console.width:
        table = Table()
        for name in columns:
            table.add_column(name, no_wrap=True)
        for text in texts:
            table.add_row(*text)
        console.print(table)
        return
    longest = min(max(map(len, columns)), console.width // 2)
    for number, row in enumerate(cells, start=1):
        console.rule(f"row {number}", align="left", characters="-")
        for name, cell in zip(columns, row, strict=True):
            console.print(
                f"{_cut(name, longest):<{longest}}  {_cut(cell, console.width - longest - 2)}", no_wrap=True, crop=True
            )


def _cell(value: Any) -> str:
    """A value as one line: for a list its first three items and its length; numbers are rounded to six digits."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        shown = ", ".join(_cell(part) for part in value[:MAX_NUMBERS])
        return f"[{shown}{f', … {len(value)} in all' if len(value) > MAX_NUMBERS else ''}]"
    return "" if value is None else " ".join(str(value).splitlines())


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
