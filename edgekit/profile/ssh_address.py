"""The address of a board over ssh: `ssh://[user@]host[:port]`."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from edgekit.errors import UsageError


def host_of(address: str, form: str = "it is written ssh://[user@]host[:port]") -> tuple[str, int | None]:
    """`user@host` and the port; UsageError, with the form as its remedy, for what could be anything else than that."""
    what = f"address {shown(address)!r}"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise UsageError(what, "names a port that is none", form) from error
    user, host = parts.username, parts.hostname
    word = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
    fits = parts.scheme == "ssh" and host and not (parts.path.strip("/") or parts.query or parts.fragment)
    if not fits or parts.password or not re.fullmatch(rf"{word}|[0-9A-Fa-f:.]+(%{word})?", host or ""):
        raise UsageError(what, "does not name a board", form)
    if user is not None and not re.fullmatch(word, user):
        raise UsageError(what, "names a user that is none", form)
    return f"{user}@{host}" if user else str(host), port


def shown(address: str) -> str:
    """An address as messages tell it: without the password that somebody may have put in."""
    return re.sub(r"(//[^/@:]*):[^/@]*@", r"\1:…@", address)
