"""What never goes, wherever a board's programs fail: the current version, and the last one that was accepted."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import edgekit.deploy

HOLD = (Path(edgekit.deploy.__file__).parent / "board.sh").read_text()
NAME = "m"
FIRST, SECOND, THIRD, FOURTH = (f"{n:04d}-{n:012x}" for n in (1, 2, 3, 4))
PROGRAMS = ("mv", "ln", "rm", "mkdir", "rmdir", "sync", "readlink", "grep", "ls", "touch")
# A program of the board that fails at its turn, before or after it has done what it was asked, or the shell dies there.
FAULTY = """#!/bin/sh
real=/usr/bin/${0##*/}
test "$AT" != 0 || exec "$real" "$@"
n=$(($(cat "$COUNT") + 1)); echo $n >"$COUNT"
test $n = "$AT" || exec "$real" "$@"
case $FAULT in
  before) exit 1 ;;
  after) "$real" "$@"; exit 1 ;;
  die) kill -9 "$TOP" ;;
  die-after) "$real" "$@"; kill -9 "$TOP" ;;
esac
"""
FAULTS = ("before", "after", "die", "die-after")
WAYS = {
    "accept": [f"commit {NAME} {THIRD}", f"accept {NAME} {THIRD} {SECOND}"],
    "go back": [f"commit {NAME} {THIRD}", f"back {NAME} {SECOND} {THIRD}"],
    "roll back": [f"rollback {NAME} {FIRST}", f"rollback {NAME} {SECOND}"],
}


def talk(base: Path, requests: Sequence[str], at: int = 0, fault: str = "") -> list[list[str]]:
    """What the shell of a board answers to each of some requests; the last answer ends where it died."""
    environment = {"PATH": f"{base.parent / 'bin'}:/usr/bin:/bin", "AT": str(at), "FAULT": fault}
    environment["COUNT"] = str(base.parent / "count")
    (base.parent / "count").write_text("0")
    staged = f"edgekit-{secrets.token_hex(8)}"
    script = f"TOP=$$; export TOP; name={staged}; base='{base}'\n{HOLD}"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    answers = []
    with subprocess.Popen(["sh", "-c", script], env=environment, text=True, bufsize=1, **pipes) as shell:
        for _ in range(3):
            shell.stdout.readline()
        for line in (f"lock {NAME}", *requests):
            if line.startswith("commit") and (folder := base / ".staging" / staged).is_dir():
                (folder / "payload").write_text(line.split()[2])
            try:
                shell.stdin.write(f"{line}\n")
            except BrokenPipeError:
                break
            answers.append([])
            while (said := shell.stdout.readline().strip()) and not said.startswith("fail "):
                answers[-1].append(said)
                if said == "done":
                    break
        with suppress(BrokenPipeError):
            shell.stdin.close()
    return answers


def current(base: Path) -> str:
    """The version that is current, and whole."""
    link = base / NAME / "current"
    assert link.is_symlink()
    assert (link / "payload").read_text() == link.readlink().name
    return link.readlink().name


def one_case(base: Path, way: str, at: int, fault: str) -> bool:
    """A deploy with one fault, and what must hold after it; whether its turn came at all."""
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    talk(base, [f"commit {NAME} {FIRST}", f"accept {NAME} {FIRST} -"])
    talk(base, [f"commit {NAME} {SECOND}", f"accept {NAME} {SECOND} {FIRST}"])
    assert current(base) == SECOND
    versions = base / NAME / "versions"
    answers = talk(base, WAYS[way], at, fault)
    came = int((base.parent / "count").read_text()) >= at
    now, left = current(base), {path.name for path in versions.iterdir()}
    accepted = {name for name in left if not (versions / name / "unproven").exists()}
    allowed = {FIRST, SECOND} if way == "roll back" else {SECOND, THIRD}
    assert now in allowed
    assert SECOND in accepted
    assert {SECOND, now} <= {name for name in left if (versions / name / "payload").read_text() == name}
    if way != "accept" or now == SECOND:
        assert FIRST in accepted, "it went before a newer one was accepted"
    for line, answer in zip(WAYS[way], answers[1:], strict=False):
        verb, _, version = line.split()[:3]
        if answer[-1:] == ["done"] and verb in ("commit", "rollback") and line == WAYS[way][len(answers) - 2]:
            assert (now == version) == (len(answer) == 1), answer
        if answer == ["done"] and verb == "back":
            assert (now, THIRD in accepted) == (SECOND, False)
    talk(base, [f"commit {NAME} {FOURTH}", f"accept {NAME} {FOURTH} {now}"])
    assert current(base) == FOURTH
    assert {path.name for path in versions.iterdir()} <= {FOURTH, now}
    assert not (base / NAME / ".new").exists()
    assert list((base / ".staging").iterdir()) == []
    return came


def test_whatever_fails_there_the_current_version_and_the_last_accepted_one_stay(tmp_path, drawn_seed):
    (tmp_path / "bin").mkdir()
    for program in PROGRAMS:
        (path := tmp_path / "bin" / program).write_text(FAULTY)
        path.chmod(0o755)
    if "EDGEKIT_SWEEPS" in os.environ:  # each command of each way, until there is none left
        for way in WAYS:
            for fault in FAULTS:
                assert any(not one_case(tmp_path / "base", way, at, fault) for at in range(1, 99))
        return
    draw = random.Random(drawn_seed)
    for _ in range(8):
        one_case(tmp_path / "base", draw.choice(list(WAYS)), draw.randint(1, 25), draw.choice(FAULTS))
