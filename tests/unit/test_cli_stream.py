"""`edgekit run --stream` as people and programs use it: files, pipes, terminals, Ctrl-C, a reader that leaves."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converted import ROOT, Answer, artifact, edgekit_main, stream
from streams import LENGTH, NAMES, STEP, STRIDE, overlapping, plain

import edgekit
from edgekit.cli.run_stream import run_stream
from edgekit.cli.stream_options import StreamChoices

COMMAND = (sys.executable, "-c", "from edgekit.cli import main; main()", "run")
LONGEST = 60.0  # s that a stream may take here


def objects(answer: Answer | str) -> list[dict[str, Any]]:
    text = answer if isinstance(answer, str) else answer.stdout
    found = [json.loads(line) for line in text.splitlines()]
    assert all(row["schema_version"] == 1 for row in found)
    return found


def csv_text(x: np.ndarray, header: str = "t," + ",".join(NAMES)) -> str:
    rows = (f"{n * STEP:.6f}," + ",".join(f"{v:.9g}" for v in row) for n, row in enumerate(x))
    return "\n".join((header, *rows)) + "\n"


@pytest.fixture
def edge(tmp_path: Path) -> Path:
    return overlapping().artifact.save(tmp_path / "net.edge")


@pytest.fixture
def x() -> np.ndarray:
    return stream(120)


def started(*arguments: object, **pipes: Any) -> subprocess.Popen[str]:
    """A stream in a process group of its own, as a terminal starts it; one that nothing comes of is ended."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | pipes
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [*COMMAND, *map(str, arguments), "--stream"]
    process = subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)
    watch = threading.Timer(LONGEST, process.kill)
    watch.daemon = True
    watch.start()
    return process


def test_a_file_gives_the_decisions_of_the_batch_and_a_summary(edge: Path, x: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(csv_text(x))
    answer = edgekit_main("run", edge, "--stream", "-i", tmp_path / "s.csv")
    assert answer.returncode == 0, answer
    *made, summary = objects(answer)
    session = edgekit.load(edge)
    windows = np.stack([x[at : at + LENGTH] for at in range(0, len(x) - LENGTH + 1, STRIDE)])
    assert [row["label"] for row in made] == session.decide(session.run(windows)).tolist()
    assert {row["type"] for row in made} == {"decision"}
    assert made[0]["time"] == pytest.approx((LENGTH - 1) * STEP)
    assert (summary["type"], summary["stopped"], summary["resampled"]) == ("summary", False, False)
    assert summary["window"] == {"length": LENGTH, "stride": STRIDE}
    assert summary["width"] == 100
    assert summary["counters"]["steps"] == len(x)
    assert f"120 samples, 120 steps, {len(made)} decisions" in answer.stderr
    assert "native" in answer.stderr.splitlines()[0]


def test_what_happened_is_told_to_machines_and_to_people(edge: Path, x: np.ndarray, tmp_path: Path) -> None:
    lines = csv_text(x, header="t,temp,acc_x,acc_y,acc_z").splitlines()
    lines = [lines[0], *(line.replace(",", ",21,", 1) for line in lines[1:])]
    lines[50:60] = ["junk", lines[50]]
    (tmp_path / "s.csv").write_text("\n".join(lines))
    answer = edgekit_main("run", edge, "--stream", "-i", tmp_path / "s.csv", "--json", "--smooth", 2, "--stride", 10)
    *made, summary = objects(answer)
    (event,) = (row for row in made if row["type"] == "event")
    assert (event["kind"], event["dropped"]) == ("gap", 50 % 10)
    assert summary["counters"]["malformed"] == summary["counters"]["gaps"] == 1
    assert summary["unused_columns"] == ["temp"]
    for said in (
        "warning: columns not used: temp\n",
        "warning: the line 'junk'",
        "1 line left out as malformed, 1 gap, ",
        "columns not used: temp",
        "first malformed line: the line 'junk'",
    ):
        assert said in answer.stderr


def test_a_live_stream_answers_at_once_and_ctrl_c_ends_it_with_the_summary(edge: Path, x: np.ndarray) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        process = started(edge)
        assert process.stdin is not None
        assert process.stdout is not None
        rows = [json.dumps({"x": row.tolist()}) for row in x[: LENGTH + 2]]
        process.stdin.write("\n".join(rows) + "\n")
        process.stdin.flush()
        first = objects(process.stdout.readline())  # while more may come
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        (summary,) = objects(out)
        assert (first[0]["type"], summary["type"], summary["stopped"]) == ("decision", "summary", True)
        assert " steps, 1 decision in " in err
        assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stream_that_waits_for_a_writer_can_be_stopped(edge: Path, tmp_path: Path, number: signal.Signals) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Timer(5, lambda: os.close(os.open(tmp_path / "pipe", os.O_WRONLY)))  # so that a fault ends too
    stopper = threading.Timer(0.3, os.kill, (os.getpid(), number))
    writer.start()
    stopper.start()
    choices = StreamChoices(None, None, None, False, None, None, None, None, None, None)
    with pytest.raises(KeyboardInterrupt):
        run_stream(edge, overlapping(), str(tmp_path / "pipe"), choices, None, as_json=True)
    writer.cancel()


def test_a_second_ctrl_c_ends_a_stream_that_nobody_reads(edge: Path, x: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(csv_text(np.concatenate([x] * 20)))
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    process = started(edge, "-i", tmp_path / "s.csv", "--json", stdout=theirs)
    for _ in range(2):
        while select.select([], [theirs], [], 0)[1]:
            time.sleep(0.05)
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=10)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_standard_streams_that_are_closed_are_no_fault(edge: Path, x: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(csv_text(x))
    line = 'exec "$@" <&- >&- 2>&-'
    command = ["sh", "-c", line, "sh", *COMMAND, str(edge), "--stream", "-i", str(tmp_path / "s.csv")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=environment, check=False).returncode == 0


@pytest.mark.slow
def test_ctrl_c_reaches_the_emulator_too_and_leaves_a_summary(x: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("unicorn")
    watch = artifact("l2mu", target="smartwatch-m33").save(tmp_path / "watch.edge")
    process = started(watch, "--on", "emulator", "--window", LENGTH, "--rate", 20)
    assert process.stdin is not None
    assert process.stdout is not None

    def write() -> None:
        while process.poll() is None:
            try:
                process.stdin.write("".join(json.dumps(row.tolist()) + "\n" for row in x))
            except OSError:
                return

    writer = threading.Thread(target=write)
    writer.start()
    made = objects(process.stdout.readline())
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(20) == 0
    writer.join()
    process.stdin.close()
    err = process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    session = edgekit.load(watch, engine="reference")
    assert made[0]["label"] == int(session.decide(session.run(x[:LENGTH])))
    summary = objects(rest)[-1]
    assert summary["stopped"]
    assert (summary["instructions"] > 0, summary["instructions_grade"]) == (True, "emulated")
    assert "per step (emulated, exact)" in err
    assert "Traceback" not in err


def test_a_reader_that_leaves_is_no_fault(edge: Path, x: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(csv_text(np.concatenate([x] * 100)))
    process = started(edge, "-i", tmp_path / "s.csv")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "error" not in err


def test_a_terminal_shows_lines_for_people(edge: Path, x: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(csv_text(x[: 3 * LENGTH]))
    ours, theirs = pty.openpty()
    arguments = (edge, "-i", tmp_path / "s.csv", "--stride", LENGTH, "--hysteresis", 2, "--min-confidence", 0.01)
    process = started(*arguments, stdout=theirs)
    process.communicate(timeout=20)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode().splitlines()
    os.close(ours)
    assert len(shown) == 3
    assert shown[0].split()[:4] == ["0.45", "s", "not", "sure"]
    assert "(this window: " in shown[0]
    assert "%" in shown[2]


def test_instructions_are_those_of_a_step_however_many_windows_are_open(x: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("unicorn")
    watch = overlapping(target="smartwatch-m33").artifact.save(tmp_path / "watch.edge")
    (tmp_path / "s.csv").write_text(csv_text(x[:41]))
    per_step = []
    for stride in (LENGTH, 2):
        arguments = (watch, "--stream", "--on", "emulator", "-i", tmp_path / "s.csv", "--stride", stride)
        answer = edgekit_main("run", *arguments)
        assert answer.returncode == 0, answer
        *_, summary = objects(answer)
        per_step.append(summary["instructions"] / summary["calls"])
        assert f"{per_step[-1]:,.0f} per step (emulated, exact)" in answer.stderr
    assert per_step[1] == pytest.approx(per_step[0], rel=0.05)


def test_a_program_without_classes_is_said_to_have_none(x: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(csv_text(x[:5]))
    edge = plain().artifact.save(tmp_path / "plain.edge")
    answer = edgekit_main("run", edge, "--stream", "-i", tmp_path / "s.csv")
    assert answer.returncode == 0
    assert "warning: the program names no classes" in answer.stderr


def test_what_cannot_be_written_is_said_by_name(edge: Path, x: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(csv_text(x))
    with Path("/dev/full").open("w") as full:
        process = started(edge, "-i", tmp_path / "s.csv", "--json", stdout=full)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("error: standard output: cannot be written: No space left")


def test_a_full_standard_error_leaves_standard_output_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("1,2,3\n")
    with Path("/dev/full").open("w") as full:
        process = started(plain().artifact.save(tmp_path / "net.edge"), "-i", tmp_path / "s.csv", stderr=full)
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (2, "")


@pytest.mark.parametrize("words", [["targets"], ["supported-ops", "--json"]])
def test_what_no_verb_can_write_is_said_by_name(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", "from edgekit.cli import main; main()", *words]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "error: standard output: cannot be written: No space left on device; make some room\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--stream", "--decide"), "--decide: does not go with --stream"),
        (("--stream", "-o", "y.npy"), "--output: does not go with --stream"),
        (("--stream", "--raw"), "--raw: does not go with --stream"),
        (("--stream", "-q"), "--quiet: does not go with --stream"),
        (("--stream", "--count"), "--count: nothing is counted"),
        (("--stream", "--smooth", "0"), "--smooth 0: means nothing"),
        (("--stream", "--window", "5"), "--window: the program has windows"),
        (
            ("--stream", "--rate", "4"),
            "--rate 4: samples come every 0.25 s then, and 0.2 s is a gap; give a longer",
        ),
        (("--stream", "--format", "xml"), "--format xml: is not known"),
        (("--stream", "--stamp"), "--stamp: s.csv is a file"),
        (("--stream", "--time-unit", "ms"), "the samples carry no times"),
        *(
            ((option, value), f"{option}: goes with --stream alone")
            for option, value in (
                *(("--rate", "20"), ("--smooth", "2"), ("--stride", "3"), ("--window", "3"), ("--max-gap", "1")),
                *(("--hysteresis", "2"), ("--min-confidence", "0"), ("--format", "csv"), ("--time-unit", "s")),
            )
        ),
        (("--stamp",), "--stamp: goes with --stream alone"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    edge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.csv").write_text("1,2,3\n")
    answer = edgekit_main("run", edge, "-i", "s.csv", *arguments)
    assert answer.returncode == 2, answer
    *_, error = answer.stderr.splitlines()
    assert error.startswith("error: ")
    assert said in error


def test_without_a_stream_an_input_is_needed(edge: Path) -> None:
    answer = edgekit_main("run", edge)
    assert (answer.returncode, answer.stderr) == (2, "error: --input: is missing; give a .npy or .npz file\n")


def test_a_source_that_fails_midway_leaves_its_summary(edge: Path, x: np.ndarray) -> None:
    ours, theirs = pty.openpty()
    process = started(edge, "-i", f"serial:{os.ttyname(theirs)}@115200", "--json")
    assert process.stderr is not None
    assert process.stdout is not None
    assert "windows of 10 steps, one every 4" in process.stderr.readline()
    os.close(theirs)
    os.write(ours, "".join(f"{json.dumps(row.tolist())}\n" for row in x[: LENGTH + 1]).encode())
    assert objects(process.stdout.readline())[0]["label"] >= 0
    os.close(ours)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert objects(out.splitlines()[0])[0]["counters"]["samples"] == LENGTH
    assert err.splitlines()[-1].endswith("is gone; plug it in again, and start anew")
