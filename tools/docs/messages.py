"""What the code says to people: every text of it as a template, and whether a page quotes one as it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

HOLE = "…"  # what is filled in: a name, a number, another text
FEWEST_WORDS = 3  # of a quotation's own: fewer stand in any program
_QUOTATION = re.compile(r"""(?P<sign>["'`])(?P<text>[^"'`\n]+)(?P=sign)""")
_FILLED = r"\$?\{\w+\}|\$\{[^}]*\}|\$\w+"  # {name} as in str.format, ${name} and $name as in shell and JavaScript
_EDGE = f"[{HOLE}:;.()]"


def texts(folder: Path) -> list[str]:
    """The texts in a folder's Python, shell and JavaScript, whole: pieces that the code joins are one."""
    found = set[str]()
    for path in folder.rglob("*.py"):
        for text in _python(ast.parse(path.read_text(encoding="utf-8"))):
            found.add(re.sub(_FILLED, HOLE, text))
    for path in (*folder.rglob("*.sh"), *folder.rglob("*.js")):
        for quotation in _QUOTATION.finditer(path.read_text(encoding="utf-8")):
            found.add(re.sub(_FILLED, HOLE, quotation["text"]).removeprefix("fail "))
    return sorted(text for text in map(_spaced, found) if _words(text) >= FEWEST_WORDS)


def quoted(page: Path) -> list[str]:
    """The messages that headings of the third level quote."""
    titles = re.findall(r"^### (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [message for title in titles for message in re.findall("`([^`]+)`", title)]


def is_said(message: str, said: list[str]) -> bool:
    """Whether one of these texts is the message, or has it as a clause of its own; `…` is what the text leaves open."""
    message = _spaced(message)
    if _words(message) < FEWEST_WORDS:
        return False
    before = "" if message.startswith(HOLE) else f"(?:^|(?<={_EDGE})|(?<={_EDGE} ))"
    after = "" if message.endswith(HOLE) else f"(?=$| ?{_EDGE})"
    clause = re.compile(before + re.escape(message) + after)
    return any(clause.search(text) for text in said)


def _python(node: ast.AST) -> Iterator[str]:
    """Strings, joined ones as one, but for docstrings; and those inside what fills a string in."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    parts = _parts(node)
    if parts is None:
        for child in ast.iter_child_nodes(node):
            yield from _python(child)
        return
    yield "".join(part if isinstance(part, str) else HOLE for part in parts)
    for part in parts:
        if not isinstance(part, str):
            yield from _python(part)


def _parts(node: ast.AST) -> list[str | ast.AST] | None:
    """What a string is joined of, expressions between texts; None for what is no string by the look of it."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return [part.value for part in node.values if isinstance(part, ast.Constant | ast.FormattedValue)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _parts(node.left), _parts(node.right)
        if left is not None or right is not None:
            return [*([node.left] if left is None else left), *([node.right] if right is None else right)]
    return None


def _words(text: str) -> int:
    return len(re.findall(r"[\w-]+", text))


def _spaced(text: str) -> str:
    """One space for many, one hole for several without a word between."""
    return re.sub(rf"{HOLE}(?:\s*{HOLE})+", HOLE, " ".join(text.split()))
