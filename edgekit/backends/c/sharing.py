"""Functions that several entries have in common are written once."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgekit.ir.widths import is_width


@dataclass
class Functions:
    """The functions written so far, by all of their text but their name."""

    _names: dict[str, str] = field(default_factory=dict)

    def once(self, entry: str, name: str, text: str) -> str:
        """The text of a function; in an entry of a nested width, another name for one that does the same."""
        first = self._names.setdefault(text.replace(name, "@"), name)
        return f"#define {name} {first}\n" if first != name and is_width(entry) else text
