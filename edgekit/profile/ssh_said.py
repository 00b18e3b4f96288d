"""What a board, or ssh itself, has said: made fit for a terminal, and understood."""

from __future__ import annotations

import re

from edgekit.errors import TargetError

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
