"""A runtime's messages while it loads: what is no news goes, what is wrong stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from converted import edgekit_command, module

import edgekit
from edgekit.backends.tflite.quiet import without_news


def test_only_lines_of_information_are_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        os.write(2, b"INFO: Created a delegate.\nERROR: node 3 ")
        os.write(2, b"is wrong\nWARNING: INFO: slow\n")
        raise ValueError("went wrong")

    with pytest.raises(ValueError, match="went wrong"), without_news():
        fail()
    os.write(2, b"INFO: after\n")
    assert capfd.readouterr().err == "ERROR: node 3 is wrong\nWARNING: INFO: slow\nINFO: after\n"


def test_a_closed_descriptor_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: int) -> int:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(os, "dup", closed)
    with without_news():
        done = True
    assert done


def test_no_descriptor_is_left_open() -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(5):
        with without_news():
            pass
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_the_command_line_prints_nothing_of_the_runtime(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    edgekit.save(module("mlp"), tmp_path / "net.pt")
    answer = edgekit_command("convert", "net.pt", "--format", "tflite", "-q", cwd=tmp_path)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
