"""What a board, or ssh itself, has said: made fit for a terminal, and understood."""

from __future__ import annotations

import re

from edgekit.errors import TargetError

_UNAME = {"x86_64": "x86_64", "aarch64": "aarch64", "armv7l": "armv7", "armv8l": "armv7"}
_REASONS = (  # what ssh says, the cause, and the remedy, which may name the command that tries it by hand
    (
        "IDENTIFICATION HAS CHANGED",
        "shows another host key than the one that is known",
        "someone may be in between; if you know why it changed: ssh-keygen -R HOST, and connect by hand once",
    ),
    (
        "Host key verification failed|host key is known",
        "shows a host key that is not known here",
        "compare it, and accept it once by hand: ssh {words}",
    ),
    ("Permission denied", "refuses the login", "a key without a question is needed, as in: ssh-copy-id {words}"),
    ("Could not resolve", "has no such name", "mend the address"),
    ("refused|timed out|No route|unreachable", "cannot be reached", "try by hand: ssh {words}"),
    (
        "closed|reset|Broken pipe|not responding|lost connection|mux_client",
        "cut the connection",
        "try by hand: ssh {words}",
    ),
)


def printable(text: str) -> str:
    """A line that a board said, without what would steer a terminal."""
    return "".join(letter for letter in text if letter.isprintable())


def printable_lines(text: str) -> str:
    """All that a board said, line by line, without what would steer a terminal."""
    return "\n".join(printable(line.replace("\t", " ")) for line in text.splitlines())


def why_cut(name: str, words: str, messages: str, *, entered: bool) -> TargetError:
    """Why ssh itself ended, from its messages; `words` are those of the command that connects by hand."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    otherwise = ("", "cut the connection" if entered else "cannot be reached", "try by hand: ssh {words}")
    _, cause, remedy = next((row for row in _REASONS if re.search(row[0], messages)), otherwise)
    return TargetError(name, cause, remedy.replace("{words}", words), lines[-2:])


def folder_in(line: str, name: str) -> str:
    """The folder that a board says it has made; TargetError for what could steer something else."""
    if not re.fullmatch(r"/.*/edgekit-[0-9a-f]{16}", line) or not line.isprintable():
        raise TargetError(name, f"made a folder with the name {line[:80]!r}", "set TMPDIR there")
    return line


def arch_in(line: str, name: str) -> str:
    """The architecture of what `uname -m` says; TargetError for one that programs are not built for."""
    if line not in _UNAME:
        called = printable(line)[:80] or "machine without a name"
        raise TargetError(name, f"is a {called}", f"known are {', '.join(_UNAME)}")
    return _UNAME[line]


def free_bytes_in(line: str) -> int | None:
    """Bytes that are free, from the last line of `df -Pk`; None where it says something else."""
    words = line.split()
    return int(words[3]) * 1024 if len(words) >= 6 and words[3].isdecimal() else None
