"""The command line's root, which its commands are registered on."""

from __future__ import annotations

from typing import Annotated

import typer

from graphseam.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Embeddings of graphs too large for one machine, on Spark.",
)
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting; may be repeated.")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"graphseam {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Embeddings of graphs too large for one machine, on Spark."""
