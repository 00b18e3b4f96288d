"""Links of all pages: where they lead inside the repository, and which lead nowhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PLACES = ("README.md", "CHANGELOG.md", "docs/**/*.md", "examples/**/*.md", "tools/decisions/*.md")
HISTORY = ("CHANGELOG.md", "docs/STATE.md", "tools/decisions")  # which name files as they were
EXAMPLES = ("targets/x.toml", "edgekit/backends/c/kernels/simd/x.h")  # paths that a page makes up
_CODE = r"^```.*?^```|`[^`\n]+`"
_LINK = re.compile(rf"(?P<code>{_CODE})|(?P<before>\]\()(?P<target>[^)\s]+)(?=\))", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"`((?:edgekit|tests|tools|docs|examples|targets)/[\w./-]+)`")
_HEADING = re.compile(r"(?P<code>^```.*?^```)|^#+ (?P<title>[^\n]+)$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every page that people read."""
    return sorted(page for place in PLACES for page in ROOT.glob(place))


def change_links(text: str, change: Callable[[str], str]) -> str:
    """The text of a page with other targets of its links; code stays as it is."""

    def changed(found: re.Match[str]) -> str:
        return found["code"] or found["before"] + change(found["target"])

    return _LINK.sub(changed, text)


def targets(page: Path) -> Iterator[tuple[int, str]]:
    """Line and target of every link and picture of a page, those to the web left out."""
    text = page.read_text(encoding="utf-8")
    for found in _LINK.finditer(text):
        target = found["target"]
        if target and not re.match(r"[a-z]+:", target):
            yield text.count("\n", 0, found.start()) + 1, target


@cache
def anchors(page: Path) -> frozenset[str]:
    """What a link into a page can name: its headings, as the site and others spell them."""
    titles = (found["title"] for found in _HEADING.finditer(page.read_text(encoding="utf-8")))
    return frozenset(slug(title) for title in titles if title)


def slug(title: str) -> str:
    """The anchor of a heading: its words in lower case with hyphens between, without other signs."""
    plain = re.sub(r"\]\([^)]*\)", "", unicodedata.normalize("NFC", title))
    return re.sub(r"[^\w\- ]", "", plain).strip().lower().replace(" ", "-")


def broken() -> list[str]:
    """The links and paths that lead nowhere: page, line, target and reason."""
    faults = []
    for page in pages():
        name = page.relative_to(ROOT).as_posix()
        paths = [] if name.startswith(HISTORY) else _PATH.findall(page.read_text(encoding="utf-8"))
        faults += [f"{name}: `{p}`: is not there" for p in paths if not (ROOT / p).exists() and p not in EXAMPLES]
        for line, target in targets(page):
            if reason := _fault(page, target):
                faults.append(f"{name}:{line}: {target}: {reason}")
    return faults


def _fault(page: Path, target: str) -> str:
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.is_relative_to(ROOT):
        return "leads out of the repository"
    if not path.exists():
        return "is not there"
    if path.is_dir() and not (path / "README.md").is_file():
        return "is a folder without a README.md"
    if anchor and (path.suffix != ".md" or anchor not in anchors(path)):
        return "has no such heading"
    return ""
