"""The demo on a real terminal: drawn, taught with keys, and left as it was found."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from converted import ROOT

pytest.importorskip("torch")

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PATIENCE = 60.0


class Screen:
    """A process on a terminal of its own: what it has drawn, and keys for it."""

    def __init__(self, handle: int, process: subprocess.Popen[bytes]) -> None:
        self.handle, self.process, self.drawn = handle, process, ""

    def type(self, keys: str) -> None:
        os.write(self.handle, keys.encode())

    def wait_for(self, text: str) -> None:
        """Read until a text was drawn after the last one that was waited for."""
        until, self.drawn = time.monotonic() + PATIENCE, ""
        while text not in self.drawn:
            assert time.monotonic() < until, f"{text!r} is not in {self.drawn[-2000:]!r}"
            if select.select([self.handle], [], [], 0.2)[0]:
                self.drawn += ESCAPES.sub("", os.read(self.handle, 1 << 16).decode(errors="replace"))


@contextmanager
def screen(*words: str, **environment: str) -> Iterator[Screen]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 32, 110, 0, 0))
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen(
        [sys.executable, "-c", "from edgekit.cli import main; main()", "demo", "har", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (no threads here)
    )
    try:
        shown = Screen(ours, process)
        yield shown
        while process.poll() is None:  # a terminal that nobody reads keeps its program waiting
            if select.select([ours], [], [], 0.2)[0]:
                shown.drawn += os.read(ours, 1 << 16).decode(errors="replace")
        assert process.returncode == 0
        assert termios.tcgetattr(theirs) == before
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


@pytest.mark.slow
def test_a_gesture_is_taught_with_keys_and_the_terminal_is_left_as_it_was():
    with screen("--models", "l2mu", "--speed", "8") as shown:
        shown.wait_for("spikes of l2mu")
        shown.type("nnnnnnnn")  # the eighth activity is the one that no model knows
        shown.wait_for("now wave")
        shown.type("t")
        shown.wait_for("name of the gesture")
        shown.type("wav\x1b[Ad\x7fe\r")  # an arrow is none of its letters
        shown.wait_for("recording 'wave': 4")
        shown.type("t")
        shown.wait_for("learned 'wave': ")
        shown.wait_for("✓ wave")
        shown.type("u")
        shown.wait_for("the last lesson was taken back")
        shown.type("u")
        shown.wait_for("nothing was taught")
        shown.process.terminate()
        shown.wait_for("Where to go next")


@pytest.mark.slow
def test_keys_are_heard_while_a_sensor_is_silent(tmp_path: Path):
    with screen("--models", "mlp", "--source", "udp://127.0.0.1:0", EDGEKIT_SHARED=str(tmp_path)) as shown:
        shown.wait_for(" of 127.0.0.1")
        port = int(shown.drawn.rpartition("UDP port ")[2].split()[0])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"noise\n", ("127.0.0.1", port))
        shown.wait_for("the line 'noise' is neither")
        shown.type("\x1bq")  # both at once
        shown.wait_for("Where to go next")
