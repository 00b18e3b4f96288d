"""A systemd unit that decides about the stream of a sensor, from when the board starts on."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.deploy.asking import answer_to
from edgekit.errors import TargetError, UsageError
from edgekit.profile.ssh import Ssh
from edgekit.profile.ssh_said import printable_lines
from edgekit.streaming.serial import parse_port

SYSTEM, USER = "system", "user"
LIMIT_S = 120.0  # systemd waits up to 90 s for a program that does not end
SERIAL = "serial:"
_SAYS = "# edgekit "
# Speeds that Linux has names for, which is what every stty can set.
_SPEEDS = (
    *(50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800),
    *(500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000),
)
# What a board may say of a source, by the exit code of the question.
_NOT_A_SOURCE = {
    3: ("has no systemctl", "a service needs systemd; start `run` in another way"),
    4: ("has no {device}", "make the FIFO first, or connect the sensor"),
    5: ("has at {device} neither a FIFO nor a device", "files and folders are no sensor; mkfifo makes a FIFO"),
    6: ("does not let you read {device}", "devices belong to a group: sudo usermod -aG GROUP USER"),
    7: ("has at {device} a serial port", "name its speed: --service serial:{device}@115200"),
    8: ("has at {device} no serial port that stty can set", "leave serial: out for a FIFO"),
}


@dataclass(frozen=True)
class Service:
    """The unit of an artifact: samples come from `source`, a FIFO or device of the board, or `serial:/dev/ttyX@BAUD`;
    `scope` is whose unit it is: the system's, or the user's.
    """

    source: str
    scope: str

    @property
    def device(self) -> str:
        """The path of the FIFO or device."""
        return self.port[0] if self.port else self.source

    @property
    def port(self) -> tuple[str, int] | None:
        """The device and the speed of a serial port."""
        return parse_port(self.source.removeprefix(SERIAL)) if self.source.startswith(SERIAL) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def check_source(source: str) -> None:
    """UsageError for what is no absolute path on a board, nor a serial port there with a speed that it can have."""
    path = source.removeprefix(SERIAL)
    if not path.startswith("/") or path == "/" or not path.isprintable() or ".." in path.split("/"):
        cause = "is no absolute path of a FIFO or device on the board"
        raise UsageError(f"--service {source!r}", cause, "give one such as /run/imu or serial:/dev/ttyACM0@115200")
    if source.startswith(SERIAL) and (speed := parse_port(path)[1]) not in _SPEEDS:
        near = sorted(sorted(_SPEEDS, key=lambda known: abs(known - speed))[:2])
        cause = f"{speed} is no speed of serial ports"
        raise UsageError(f"--service {source!r}", cause, f"near it are {near[0]} and {near[1]}")


def service_of(document: Mapping[str, Any]) -> Service | None:
    """The service that a version says it has; None for none, and for what could not be one."""
    said = document.get("service")
    if not isinstance(said, dict) or set(said) != {"source", "scope"} or said["scope"] not in (SYSTEM, USER):
        return None
    try:
        check_source(str(said["source"]))
    except UsageError:
        return None
    return Service(str(said["source"]), said["scope"])


def unit_name(base: str, name: str) -> str:
    """What systemd calls the unit of an artifact in an install folder: other folders of the board have their own."""
    return f"edgekit-{name}-{hashlib.sha256(base.encode()).hexdigest()[:8]}.service"


def unit_text(name: str, current: str, service: Service) -> str:
    """The unit. It starts again when the samples end, as those of a FIFO do when nobody writes any more; what it
    decides goes to the journal. Its first line says what it is, for a version that cannot any more.
    """
    system, port = service.scope == SYSTEM, service.port
    lines = [
        f"{_SAYS}{json.dumps(service.to_dict())}",
        "[Unit]",
        f"Description=edgekit: decisions of {name}",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        # A serial port echoes what it gets, and waits for lines to be edited, until it is told otherwise.
        *([f"ExecStartPre=/usr/bin/env stty -F {_word(port[0])} {port[1]} raw -echo clocal"] if port else []),
        # Through sh: systemd takes no name of a program that holds quotes and the like, but any argument.
        f"ExecStart=/bin/sh {_word(f'{current}/run')} {_word(service.device)}",
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


def check_board(board: Ssh, service: Service) -> None:
    """TargetError for a board that has no systemd, or at the source of samples nothing that a unit can read."""
    script = [
        f"source={shlex.quote(service.device)}",
        "command -v systemctl >/dev/null || exit 3",
        'test -e "$source" || exit 4',
        'test -c "$source" || test -p "$source" || exit 5',
        'test -r "$source" || exit 6',
        'serial() { test -c "$source" && stty -F "$source" >/dev/null 2>&1; }',
        "serial || exit 8" if service.port else "! serial || exit 7",
    ]
    code, _, _ = board.do("\n".join(script))
    if code in _NOT_A_SOURCE:
        cause, remedy = (text.replace("{device}", service.device) for text in _NOT_A_SOURCE[code])
        raise TargetError(board.name, cause, remedy)


def start_service(board: Ssh, base: str, name: str, service: Service) -> str:
    """Install the unit and start it, so that it runs the current version: `active` and how long, or why it was not
    started. TargetError when it does not stay up.
    """
    given = {"verb": "start", "scope": service.scope}
    return _ask(board, base, name, given, unit_text(name, f"{base}/{name}/current", service)).strip()[:200]


def stop_service(board: Ssh, base: str, name: str, service: Service | None) -> str | None:
    """Stop the unit and remove it: `removed`, None where there is none. A version may know of no service whose unit a
    start that failed has left.
    """
    said = _ask(board, base, name, {"verb": "stop", "scope": service.scope if service else ""}, "")
    return None if said.strip() == "none" else said.strip()


def service_now(board: Ssh, base: str, name: str, document: Mapping[str, Any]) -> Service | None:
    """The service of the current version, from its document, or from the board's unit where that cannot be read.

    TargetError for a unit that does not say what it is.
    """
    if document:
        return service_of(document)
    text = _ask(board, base, name, {"verb": "look", "scope": ""}, "")
    first = text.partition("\n")[0]
    if not text.strip():
        return None
    try:
        found = service_of({"service": json.loads(first.removeprefix(_SAYS))})
    except ValueError:
        found = None
    if found is None:
        remedy = f"take it away first: edgekit deploy --no-service {name} ADDRESS"
        raise TargetError(f"service of {name} on {board.name}", "does not say what it is", remedy)
    return found


def follow_service(board: Ssh, base: str, name: str, *, to: Service | None, of: Service | None) -> str | None:
    """Give an artifact one service in place of another one; None where it has neither."""
    if to is not None:
        return start_service(board, base, name, to)
    return stop_service(board, base, name, of) if of is not None else None


def _ask(board: Ssh, base: str, name: str, asked: Mapping[str, str], text: str) -> str:
    unit = unit_name(base, name)
    given = {**asked, "unit": unit, "current": f"{base}/{name}/current"}
    script = (Path(__file__).parent / "service.sh").read_text(encoding="utf-8")
    head = "\n".join(f"{key}={shlex.quote(value)}" for key, value in given.items())
    # To its end, so that no other one comes between its steps.
    code, answer, messages = answer_to(board, f"{head}\n{script}", text.encode(), LIMIT_S, to_its_end=True)
    if code:
        raise TargetError(
            board.name, f"did not {given['verb']} {unit}", "see its messages:", messages.strip().splitlines()[-6:]
        )
    return printable_lines(answer)
