"""What tests of deploying share: artifacts, a board's folder, and what is current there."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from converted import artifact, module, stream
from sshd import Board, Start, below, boards, kill

import edgekit
from edgekit.artifact import Artifact
from edgekit.deploy import Destination, Outcome, Wish, deploy, destination
from edgekit.deploy.contents import Stream
from edgekit.runtime import load
from edgekit.streaming import Decision, FrontDoor, Options, Sample

NO_STREAM = Stream(None, "not asked for")
QUICK = {"sleep": "exec /bin/sleep 0.2"}  # what a board waits for is there at once


@contextmanager
def quick_boards(tmp_path: Path) -> Iterator[Start]:
    """Boards whose connections are made by the cheaper of the usual ways to agree on a key."""
    with boards(tmp_path) as start:

        def quick(*arguments: Any, **options: Any) -> Board:
            board = start(*arguments, **options)
            board.config.write_text(f"{board.config.read_text()}  KexAlgorithms curve25519-sha256\n")
            return board

        yield quick


@contextmanager
def board_fault(board: Board, program: str, script: str) -> Iterator[None]:
    """A fault of a board for a while: a program that stands before its own."""
    fault = board.config.parent / "bin" / program
    before = fault.read_text() if fault.exists() else None
    fault.write_text(f"#!/bin/sh\n{script}\n")
    fault.chmod(0o755)
    try:
        yield
    finally:
        fault.unlink() if before is None else fault.write_text(before)


@functools.cache
def other() -> Artifact:
    """Another version of the artifact that `artifact("mlp")` is."""
    network = module("mlp")
    return edgekit.convert(network, target="host", precision="w8", name=artifact("mlp").name)


@functools.cache
def quantised(target: str) -> Artifact:
    """An integer program."""
    options = {"precision": "int8", "calib": stream(40, 1, 8), "min_agreement": 0.5, "name": "l2mu_int8"}
    return edgekit.convert(module("l2mu"), target=target, **options)


def folder_of(board: Board) -> Path:
    return board.temporary / "it's mine" / "edge"


def to(board: Board) -> Destination:
    return destination(f"{board.address}{str(folder_of(board)).replace(' ', '%20')}")


def put(board: Board, what: Artifact, **changes: object) -> Outcome:
    return deploy(to(board), Wish(what, NO_STREAM, **changes), config=str(board.config))


def current(board: Board, name: str = "mlp_fp32") -> str | None:
    """The SHA-256 of the file that is current, after every file beside it has been compared with its own."""
    folder = folder_of(board) / name / "current"
    if not folder.is_symlink():
        return None
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    document = json.loads((folder / "deployed.json").read_text())
    assert Artifact.open(folder / f"{name}.edge").sha256 == document["sha256"]
    return str(document["sha256"])


def staged(board: Board) -> list[str]:
    return sorted(path.name for path in (folder_of(board) / ".staging").glob("*"))


def ended(board: Board) -> bool:
    """Whether nobody is at work on the board any more, and nothing staged is left."""
    free = subprocess.run(["flock", "-n", folder_of(board) / ".lock", "true"], check=False).returncode == 0
    return free and not below(board.server) and not staged(board)


def cut(board: Board) -> None:
    """End every session of the board's sshd, as a cable that is pulled would."""
    for process in below(board.server):
        try:
            if "sshd" in Path(f"/proc/{process}/comm").read_text():
                kill(process)
        except (FileNotFoundError, ProcessLookupError):
            continue


def decisions(what: Artifact, options: Options, x: np.ndarray) -> list[dict[str, object]]:
    """What the front door decides here."""
    door = FrontDoor(load(what), options)
    said = [one for row in x for one in door.feed(Sample(None, tuple(map(float, row))))] + list(door.finish())
    keys = ("index", "start", "end", "label", "name")
    return [{key: getattr(one, key) for key in keys} for one in said if isinstance(one, Decision)]


def csv(x: np.ndarray) -> bytes:
    return "".join(",".join(map(repr, map(float, row))) + "\n" for row in x).encode()
