"""A systemd unit that decides about the stream of a sensor, from when the board starts on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import TargetError, UsageError
from edgekit.profile.ssh import Ssh

SYSTEM, USER = "system", "user"
LIMIT_S = 120.0  # systemd waits up to 90 s for a program that does not end
_PATH = r"/[^\x00-\x1f\x7f]+"


@dataclass(frozen=True)
class Service:
    """The unit of an artifact: samples come from `source`, a file, FIFO or device of the board; `scope` is whose unit
    it is: the system's, or the user's.
    """

    source: str
    scope: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def check_source(source: str) -> None:
    """UsageError for what is no absolute path on a board."""
    if not re.fullmatch(_PATH, source) or ".." in source.split("/"):
        cause = "is no absolute path of a file, FIFO or device on the board"
        raise UsageError(f"--service {source!r}", cause, "give one such as /run/imu or /dev/ttyACM0")


def service_of(document: Mapping[str, Any]) -> Service | None:
    """The service that a version says it has; None for none, and for what could not be one."""
    said = document.get("service")
    if not isinstance(said, dict) or set(said) != {"source", "scope"} or said["scope"] not in (SYSTEM, USER):
        return None
    fits = isinstance(said["source"], str) and re.fullmatch(_PATH, said["source"])
    return Service(said["source"], said["scope"]) if fits else None


def unit_name(name: str) -> str:
    """What systemd calls it."""
    return f"edgekit-{name}.service"


def unit_text(name: str, current: str, service: Service) -> str:
    """The unit. It starts again when the samples end, as those of a FIFO do when nobody writes any more; what it
    decides goes to the journal.
    """
    system = service.scope == SYSTEM
    lines = [
        "[Unit]",
        f"Description=edgekit: decisions of {name}",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        # Through sh: systemd takes no name of a program that holds quotes and the like, but any argument.
        f"ExecStart=/bin/sh {_word(f'{current}/run')} {_word(service.source)}",
        "Restart=always",
        "RestartSec=2",
        "NoNewPrivileges=yes",
        *(["ProtectSystem=strict", "PrivateNetwork=yes"] if system else []),
        "",
        "[Install]",
        f"WantedBy={'multi-user' if system else 'default'}.target",
    ]
    return "\n".join(lines) + "\n"


def _word(text: str) -> str:
    """A word of a command as systemd reads it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"'


def check_board(board: Ssh, source: str) -> None:
    """TargetError for a board that has no systemd, or not the source of samples."""
    for script, cause, remedy in (
        ("command -v systemctl >/dev/null", "has no systemctl", "a service needs systemd; start `run` in another way"),
        (f"test -e {shlex.quote(source)}", f"has no {source}", "make the FIFO first, or connect the sensor"),
    ):
        if board.do(script)[0]:
            raise TargetError(board.name, cause, remedy)


def start_service(board: Ssh, name: str, current: str, service: Service) -> str:
    """Install the unit and start it, so that it runs the current version: `active`, or why it was not started.

    TargetError when it does not stay up.
    """
    given = {"verb": "start", "scope": service.scope, "unit": unit_name(name), "current": current}
    return _ask(board, given, unit_text(name, current, service))


def stop_service(board: Ssh, name: str, current: str, service: Service) -> None:
    """Stop the unit and remove it."""
    _ask(board, {"verb": "stop", "scope": service.scope, "unit": unit_name(name), "current": current}, "")


def _ask(board: Ssh, given: Mapping[str, str], text: str) -> str:
    script = (Path(__file__).parent / "service.sh").read_text(encoding="utf-8")
    head = "\n".join(f"{key}={shlex.quote(value)}" for key, value in given.items())
    code, answer, messages = board.do(f"{head}\n{script}", text.encode(), LIMIT_S)
    if code:
        cause = f"did not {given['verb']} {given['unit']}"
        raise TargetError(board.name, cause, "see its messages:", messages.strip().splitlines()[-6:])
    return answer.decode("utf-8", "replace").strip()[:200]
