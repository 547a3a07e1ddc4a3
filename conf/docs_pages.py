"""A hook of mkdocs: the files of the top directory that are pages of the site, too, with their links as seen from docs/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

TOP = Path(__file__).resolve().parent.parent
PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md", "security.md": "SECURITY.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages; a link to docs/x.md becomes one to x.md, one to a page of the top directory its name here."""
    for name, source in PAGES.items():
        text = (TOP / source).read_text(encoding="utf-8").replace("](docs/", "](")
        for page, top in PAGES.items():
            text = re.sub(rf"\]\({top}(#[^)]*)?\)", rf"]({page}\1)", text)
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links of the pages in docs/ to those of the top directory."""
    for name, source in PAGES.items():
        markdown = markdown.replace(f"](../{source})", f"]({name})")
    return markdown
