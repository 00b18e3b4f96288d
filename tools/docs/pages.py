"""The generated pages: which there are, whether they are up to date, and writing them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tools.docs.cli import cli_page
from tools.docs.ops import ops_page
from tools.docs.targets import target_pages

DOCS = Path(__file__).parent.parent.parent / "docs"
NOTE = "\n\n<!-- Written by `python -m tools.docs`: change what it is made from, not this page. -->\n"
FOLDERS = ("reference", "targets")  # which hold generated pages and nothing else


def generated() -> Mapping[Path, str]:
    """The text of every generated page by its path."""
    pages = {"reference/cli.md": cli_page(), "reference/ops.md": ops_page(), **target_pages()}
    return {DOCS / name: text.rstrip() + NOTE for name, text in pages.items()}


def stale() -> list[str]:
    """What is not as it would be written now: pages that differ or lack, and pages that nothing writes any more."""
    pages = generated()
    wrong = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    left = [path for folder in FOLDERS for path in (DOCS / folder).glob("*.md") if path not in pages]
    return sorted(str(path.relative_to(DOCS.parent)) for path in (*wrong, *left))


def write() -> list[str]:
    """Write what is stale and return what was written or removed."""
    changed, pages = stale(), generated()
    for name in changed:
        path = DOCS.parent / name
        if path in pages:
            path.parent.mkdir(exist_ok=True)
            path.write_text(pages[path], encoding="utf-8")
        else:
            path.unlink()
    return changed
