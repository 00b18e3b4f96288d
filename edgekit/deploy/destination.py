"""Where to deploy to: a board, and a folder on it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from edgekit.errors import UsageError
from edgekit.profile.ssh_address import host_of, shown

DEFAULT_FOLDER, SSH_PORT = "~/edgekit", 22
_FORM = "it is written ssh://[user@]host[:port][/folder], or /~/folder for one below the home folder"


@dataclass(frozen=True)
class Destination:
    """A board and the folder there that holds what was deployed: absolute, or below `~/`, the user's home there."""

    address: str
    board: str
    folder: str

    def __str__(self) -> str:
        return self.address

    @property
    def place(self) -> tuple[str, int, str]:
        """What two addresses of one folder on one board have in common, as far as addresses tell."""
        user_host, port = host_of(self.board)
        return user_host, port or SSH_PORT, self.folder


def destination(address: str) -> Destination:
    """The destination that `ssh://[user@]host[:port][/folder]` names; UsageError for what could be another."""
    what = f"address {shown(address)!r}"
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise UsageError(what, "does not name a board", _FORM) from error
    if parts.query or parts.fragment:
        raise UsageError(what, "does not name a board", _FORM)
    host_of(f"{parts.scheme}://{parts.netloc}", _FORM)
    try:
        folder = unquote(parts.path, errors="strict").rstrip("/")
    except UnicodeDecodeError as error:
        raise UsageError(what, "names a folder that is no UTF-8", _FORM) from error
    words = folder.split("/")
    if ".." in words:
        raise UsageError(what, "names a folder with '..'", "give the folder itself")
    if not folder.isprintable() or "." in words or "" in words[1:] or folder == "/~":
        raise UsageError(what, "names a folder that could be another", _FORM)
    if folder.startswith("/~") and not folder.startswith("/~/"):
        raise UsageError(what, "names another user's home folder", _FORM)
    below_home = folder.startswith("/~")
    return Destination(address, f"ssh://{parts.netloc}", folder[1:] if below_home else folder or DEFAULT_FOLDER)
