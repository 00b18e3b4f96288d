"""Recipe files: TOML that people write and read, or the recipe inside an artifact."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from edgekit.artifact import Artifact
from edgekit.compress.recipe_data import from_data, to_data
from edgekit.compress.rules import Compression
from edgekit.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ARTIFACT = ".edge"
LARGEST = 2**20  # bytes of a recipe


def read_recipe(path: Path) -> Compression:
    """The compression that a TOML file describes, or that an artifact (.edge) was made with.

    UsageError in one line for what cannot be read, with the line where it stands and what helps; ArtifactError for a
    damaged artifact.
    """
    if path.suffix == ARTIFACT:
        found = Artifact.open(path).manifest.get("compression")
        if not found:
            raise UsageError(str(path), "was made without a recipe", "give a .toml file, or another artifact")
        return from_data(found["recipe"], stored=True)
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise UsageError(str(path), f"has {size:,} bytes", f"a recipe has at most {LARGEST:,}")
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(str(path), f"cannot be read ({error.strerror})", "check the name") from error
    except UnicodeDecodeError as error:
        raise UsageError(str(path), "is no text", "a recipe is a TOML file in UTF-8") from error
    return parse_recipe(text, str(path))


def parse_recipe(text: str, where: str = "recipe") -> Compression:
    """The compression that TOML text describes; see `read_recipe`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(where, f"is no TOML: {error}", "see docs/COMPRESS.md for an example") from error
    except ValueError as error:  # a number of thousands of digits
        raise UsageError(where, f"is no TOML: {error}", "write shorter numbers") from error
    except RecursionError as error:
        raise UsageError(where, "is nested too deeply", "see docs/COMPRESS.md for an example") from error
    try:
        return from_data(data)
    except UsageError as error:
        line = _line(text, error.cause)
        raise UsageError(where + (f", line {line}" if line else ""), error.cause, error.remedy, error.items) from error


def _line(text: str, cause: str) -> int | None:
    """The line of what a fault names: `units[0].keep`, or `weights[1] 'W_*': bits = 3`; None where none is found."""
    if named := re.match(r"(\w+)\[(\d+)\](?:\.(\w+)|.*: (\w+) (?:=|is))?", cause):
        table, at, key = named[1], int(named[2]), named[3] or named[4] or "match"
    elif named := re.match(r"(?:(tuning)[.:] ?)?(\w+)", cause):
        table, at, key = named[1] or "", 0, named[2]
    else:
        return None
    inside, seen, header = "", -1, None
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r"\s*\[+\s*(\w+)\s*\]+", line):
            inside = found[1]
            seen += inside == table
            header = number if inside == table and max(seen, 0) == at else header
        elif inside == table and (not table or seen == at) and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return header


def dump_recipe(compression: Compression) -> str:
    """A compression as TOML; `parse_recipe` gives an equal one."""
    data = to_data(compression)
    lines = [f"{key} = {_value(data[key])}" for key in ("schema_version", "precision")]
    for key, rules in data.items():
        if isinstance(rules, list):
            for rule in rules:
                lines += ["", f"[[{key}]]", *(f"{name} = {_value(value)}" for name, value in rule.items())]
        elif isinstance(rules, dict):
            lines += ["", f"[{key}]", *(f"{name} = {_value(value)}" for name, value in rules.items())]
    return "\n".join([*lines, ""])


def _value(value: Any) -> str:
    if isinstance(value, str):
        return '"' + "".join(f"\\u{ord(c):04x}" if c in '"\\\x7f' or c < " " else c for c in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
