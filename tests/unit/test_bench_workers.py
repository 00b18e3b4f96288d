"""Peers in processes of their own: what they compute is checked, what they get wrong is said, and none stays behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

pytest.importorskip("torch")

from edgekit.bench import environments
from edgekit.bench.accuracy import EXACT, MOST_ERROR, Accuracy, against, fault_of, float_decisions, measure_accuracy
from edgekit.bench.cases import Case, make_case
from edgekit.bench.environments import COMPLETE, absent, python_of
from edgekit.bench.parcel import read_case, write_case
from edgekit.bench.peers import PEERS, Peer
from edgekit.bench.remote import PATIENCE, Patience, RemoteSubject, Worker
from edgekit.bench.rivals import Rival, opened
from edgekit.bench.rows import OWN, Row, fastest, nearest, timed
from edgekit.bench.stimuli import Array, motion, noise
from edgekit.bench.timing import Schedule, time_in_turns
from edgekit.bench.windows import TestWindows as Windows
from edgekit.errors import ToolchainError
from edgekit.models import ELM, MLP

HASTY = Patience(start=60.0, open=120.0, run=60.0, turn=1.0)
SHORT = Schedule(rounds=3, turn_s=1e-4)

PLAYER = """\
#!{python}
import json, os, signal, sys, time
import numpy as np
for line in sys.stdin:
    request = json.loads(line)
    do, subject, answer = request["do"], request.get("subject"), {{}}
    if do == "subjects":
        answer = {{"subjects": ["good", "crash", "hang", "garbage", "endless", "liar", "int8 liar", "short", "nan"]}}
    elif do == "open":
        answer = {{"detail": "a worker that plays"}}
    elif do == "run":
        x = np.load(request["windows"])
        y = x @ np.load("{weight}").T
        y += {{"liar": 0.02, "int8 liar": 10.0, "nan": np.nan}}.get(subject, 0.0)
        np.save(request["outputs"], y[:, :-1] if subject == "short" else y)
    elif subject == "crash":
        print("out of luck", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    elif subject == "hang":
        time.sleep(60)
    elif subject == "garbage":
        print("W0000 a package has its say", flush=True)
        continue
    elif subject == "endless":
        os.write(1, b"x" * 3_000_000)
    else:
        answer = {{"nanoseconds": 1000 * request["steps"], "interrupted": False}}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture(scope="module")
def mlp() -> Case:
    import torch

    torch.manual_seed(0)
    return make_case("mlp", "a small MLP", MLP([12, 16, 5]).eval(), noise(12))


@pytest.fixture(scope="module")
def elm() -> Case:
    import torch

    torch.manual_seed(0)
    return make_case("elm", "a small ELM", ELM(inputs=6, outputs=3, memory=8, hidden=12).eval(), motion(6))


@pytest.fixture
def linear(tmp_path: Path) -> Case:
    """A case that the player can compute too."""
    import torch

    torch.manual_seed(0)
    case = make_case("linear", "one layer", MLP([4, 3], bias=False).eval(), noise(4))
    np.save(tmp_path / "weight.npy", next(iter(case.module.parameters())).detach().numpy())
    return case


@pytest.fixture
def player(tmp_path: Path, linear: Case) -> Path:
    """An interpreter that plays a worker with every fault there is."""
    path = tmp_path / "python"
    path.write_text(PLAYER.format(python=sys.executable, weight=tmp_path / "weight.npy"), encoding="utf-8")
    path.chmod(0o755)
    return path


@contextmanager
def worker(peer: str, python: Path, folder: Path, patience: Patience = HASTY) -> Iterator[Worker]:
    with Worker(peer, python, folder, 1, patience) as started:
        yield started


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def workers_of(pid: int) -> list[int]:
    """The processes that the benchmark `pid` has started to run peers."""
    found = []
    with suppress(FileNotFoundError):  # each may end while it is looked at
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split():
            if b"bench.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


def test_a_case_travels_whole(mlp: Case, elm: Case, tmp_path: Path) -> None:
    for case in (mlp, replace(elm, calibration=noise(6)[None], contrast=noise(6))):
        folder = tmp_path / case.name
        folder.mkdir()
        write_case(case, folder)
        there = read_case(folder)
        assert (there.name, there.description, there.weights) == (case.name, case.description, case.weights)
        assert np.array_equal(there.stimulus, case.stimulus)
        assert np.array_equal(there.calibrated_on, case.calibrated_on)
        assert there.ring == case.ring
        again = make_case(case.name, case.description, there.module, there.stimulus)
        assert np.array_equal(again.expected, case.expected)


@pytest.mark.drawn(2)
@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("crash", r"was ended by SIGSEGV; it said: out of luck"),
        ("hang", r"did not answer in 1 s"),
        ("garbage", r"answered what is no answer: b'W0000 a package"),
        ("endless", r"answers without an end"),
    ],
)
def test_a_worker_that_fails_is_ended_and_the_next_request_starts_another(
    subject: str, said: str, linear: Case, player: Path, tmp_path: Path
) -> None:
    with worker("torch", player, tmp_path) as started:
        bad, good = RemoteSubject(started, subject), RemoteSubject(started, "good")
        bad.open()
        good.open()
        with pytest.raises(ToolchainError, match=said):
            bad.turn(8)
        assert not started.alive
        assert good.turn(8).nanoseconds == 8000
        assert started.generation == 2
        faults: dict[str, str] = {}
        micros = time_in_turns([bad, good], SHORT, faults)
        assert list(faults) == [subject]
        assert (micros[:, 1] == 1.0).all()


def test_what_computes_something_else_is_failing_and_not_timed(linear: Case, player: Path, tmp_path: Path) -> None:
    with worker("torch", player, tmp_path) as started:
        names = started.subjects()
        found = {}
        for name in ("good", "liar", "int8 liar", "nan"):
            assert name in names
            accuracy = measure_accuracy(RemoteSubject(started, name), linear, None)
            found[name] = fault_of(name, accuracy, len(linear.expected))
        assert found["good"] == ""
        assert "in float32 it differs from PyTorch at step 0" in found["liar"]
        assert "its outputs part from PyTorch's" in found["int8 liar"]
        assert "not finite" in found["nan"]
        with pytest.raises(ToolchainError, match="gave outputs of shape"):
            RemoteSubject(started, "short").run(linear.stimulus[None])


def test_a_worker_that_cannot_start_is_one_failing_row(linear: Case, tmp_path: Path, monkeypatch) -> None:
    broken = tmp_path / "gone" / "bin"
    broken.mkdir(parents=True)
    (broken / "python").write_text("#!/bin/sh\necho 'no such package' >&2\nexit 3\n", encoding="utf-8")
    (broken / "python").chmod(0o755)
    monkeypatch.setenv("EDGEKIT_BENCH_ENVIRONMENTS", str(tmp_path))
    monkeypatch.setitem(PEERS, "gone", Peer("torch_eager", environment="gone"))
    with opened(linear, ["gone"], tmp_path, threads=1, decided=None, patience=HASTY, progress=lambda _: None) as rivals:
        (rival,) = rivals
    assert rival.accuracy is None
    assert rival.fault == "the worker of gone: ended with code 3; it said: no such package"


def test_a_missing_environment_is_named_with_what_builds_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("EDGEKIT_BENCH_ENVIRONMENTS", str(tmp_path))
    for name, peer in PEERS.items():
        if peer.environment:
            assert f"tools/bench/setup {peer.environment} builds it" in absent(peer), name
    (tmp_path / "litert").mkdir()
    assert absent(PEERS["litert"])  # begun, not finished
    (tmp_path / "litert" / COMPLETE).touch()
    assert absent(PEERS["litert"]) == ""
    assert python_of(PEERS["litert"]) == tmp_path / "litert" / "bin" / "python"
    assert python_of(PEERS["torch"]) == Path(sys.executable)
    assert 'pip install "edgekit[bench]"' in absent(replace(PEERS["torch"], packages=("not_a_package",)))


def check(rivals: list[Rival], case: Case, least: int) -> dict[str, Rival]:
    """All of them compute the case, and give times."""
    found = {rival.subject.name: rival for rival in rivals}
    assert len(found) == len(rivals) >= least
    for name, rival in found.items():
        assert rival.fault == "", name
        assert rival.accuracy is not None
        assert rival.subject.detail
        assert rival.accuracy.error < (0.2 if "int8" in name else 1e-5), name
        if "int8" not in name:
            assert rival.accuracy.equal_steps == len(case.expected), name
        assert rival.subject.turn(16).nanoseconds > 1000
    return found


@pytest.mark.drawn(2)
def test_the_peers_of_this_python_compute_the_step_with_their_states(elm: Case, tmp_path: Path) -> None:
    for package in ("onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    write_case(elm, tmp_path)
    with opened(
        elm,
        ["torch", "onnxruntime"],
        tmp_path,
        threads=2,
        decided=None,
        patience=PATIENCE,
        progress=lambda _: None,
    ) as rivals:
        found = check(rivals, elm, 5)
        dynamic = found["ONNX Runtime, dynamic int8, io-binding"].accuracy
        assert dynamic is not None
        assert dynamic.error > EXACT  # it really is another precision
        processes = [rival.subject.worker._process for rival in rivals]
    assert all(process is not None and process.poll() is not None for process in processes)


@pytest.mark.drawn(3)
@pytest.mark.slow
@pytest.mark.skipif(
    "EDGEKIT_SWEEPS" not in os.environ, reason="half a minute of a compiler that is not ours: make test-all"
)
@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler with OpenMP")
def test_torch_compile_computes_the_step(elm: Case, tmp_path: Path) -> None:
    write_case(elm, tmp_path)
    with worker("compile", Path(sys.executable), tmp_path, PATIENCE) as started:
        subject = RemoteSubject(started, "torch.compile")
        subject.open()
        check([Rival("compile", subject, measure_accuracy(subject, elm, None))], elm, 1)


@pytest.mark.drawn(2)
@pytest.mark.slow
@pytest.mark.parametrize("peer", [name for name, peer in PEERS.items() if peer.environment])
def test_the_peers_of_other_environments_compute_the_step(peer: str, elm: Case, tmp_path: Path) -> None:
    if peer != "litert" and not os.environ.get("EDGEKIT_SWEEPS"):
        pytest.skip("one peer stands for those of other environments; EDGEKIT_SWEEPS=1 tries all")
    if why := absent(PEERS[peer]):
        pytest.skip(f"NOT TESTED: {peer}, {why}")
    write_case(elm, tmp_path)
    asked = {"threads": 1, "decided": None, "patience": PATIENCE, "progress": lambda _: None}
    with opened(elm, [peer], tmp_path, **asked) as rivals:  # type: ignore[arg-type]
        check([r for r in rivals if "copied" not in r.subject.name and "static int8" not in r.subject.name], elm, 1)


def test_a_worker_ends_with_its_parent(mlp: Case, tmp_path: Path) -> None:
    write_case(mlp, tmp_path)
    parent = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            dedent(
                f"""\
                import sys, time
                from pathlib import Path
                from edgekit.bench.remote import PATIENCE, Worker
                worker = Worker("torch", Path(sys.executable), Path({str(tmp_path)!r}), 1, PATIENCE)
                worker.subjects()
                print(worker._process.pid, flush=True)
                time.sleep(60)
                """
            ),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert running(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 10
    while running(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not running(pid)


def test_a_worker_is_ended_though_ctrl_c_comes_while_it_starts(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    python.chmod(0o755)
    parent = dedent(
        f"""\
        import os, signal, threading, time
        from pathlib import Path
        from edgekit.bench.remote import PATIENCE, Worker
        for attempt in range(50):
            stop = threading.Timer(attempt * 1e-4, os.kill, (os.getpid(), signal.SIGINT))
            try:
                with Worker("torch", Path({str(python)!r}), Path({str(tmp_path)!r}), 1, PATIENCE) as worker:
                    stop.start()
                    worker.subjects()
            except KeyboardInterrupt:
                stop.join()
        children = Path(f"/proc/{{os.getpid()}}/task/{{os.getpid()}}/children").read_text().split()
        print([c for c in children if Path(f"/proc/{{c}}/stat").read_text().rpartition(")")[2].split()[0] != "Z"])
        """
    )
    done = subprocess.run([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_ctrl_c_leaves_no_worker_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgekit.bench", "--models", "mlp", "--peers", "torch", "--threads", "1"]
    bench = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    workers: list[int] = []
    until = time.monotonic() + 120
    while not workers and bench.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
        workers = workers_of(bench.pid)
    assert workers
    bench.send_signal(signal.SIGINT)
    said, _ = bench.communicate(timeout=60)
    assert bench.returncode == 130
    assert "Traceback" not in said
    assert not any(running(pid) for pid in workers)


def test_accuracy_is_relative_and_ranks_by_error() -> None:
    expected = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)
    assert against(expected, expected, 2) == Accuracy(2, 0.0, 1.0)
    found = against(expected, np.array([[0.0, 3.0], [0.0, 4.0]], np.float32), 0)
    assert found.error == pytest.approx(np.sqrt(18 / 25))
    assert found.agreement == 0.5
    assert against(np.zeros((2, 2), np.float32), expected, 0).error == np.inf
    exact, rounded, worse = (Accuracy(1, error, 1.0) for error in (0.0, 9e-5, 2e-4))
    assert rounded.not_worse_than(exact)  # both are those of float32
    assert not worse.not_worse_than(rounded)
    assert worse.not_worse_than(replace(worse, error=0.01))


def test_decisions_about_windows_count_where_there_are_windows() -> None:
    y = np.repeat(np.arange(3), 10)
    case = Case("fake", "fake", 0, None, noise(2), np.ones((128, 3), np.float32))
    tested = replace(case, tests=Windows(np.zeros((30, 4, 2), np.float32), y, "sum", "made up"))

    class Answers:
        """Says a class for each window, and is far off over the stimulus."""

        name = detail = "fake int8"

        def __init__(self, classes: Array) -> None:
            self.classes = classes

        def run(self, windows: Array) -> Array:
            outputs = np.zeros((*windows.shape[:2], 3), np.float32)
            if len(windows) == 30:
                outputs[np.arange(30), :, self.classes] = 1.0
            return outputs

    right = measure_accuracy(Answers(y), tested, y)  # type: ignore[arg-type]
    assert (right.windows, right.windows_agreement) == (1.0, 1.0)
    assert right.error > MOST_ERROR
    assert fault_of("fake int8", right, 128) == ""  # what it decides is what it is for
    one = measure_accuracy(Answers(np.zeros(30, int)), tested, y)  # type: ignore[arg-type]
    assert one.windows == pytest.approx(1 / 3)
    assert "33 % would be chance" in fault_of("fake int8", one, 128)
    assert float_decisions(case) is None


def test_a_ratio_is_against_the_fastest_of_ours_that_is_as_exact() -> None:
    def row(subject: str, peer: str, error: float, fault: str = "") -> Row:
        return Row(subject, peer, "", Accuracy(128, error, 1.0), rival=peer != OWN, fault=fault)

    ours = [row("fp32", OWN, 1e-7), row("int8", OWN, 0.01), row("broken", OWN, 0.5, "FAILING")]
    theirs = [row("exact", "a", 3e-7), row("rough", "b", 0.02), row("rougher", "b", 0.9, "it parts")]
    micros = {name: np.array(us) for name, us in {"fp32": [2.0, 4.0], "int8": [1.0, 2.0], "broken": [0.1, 0.1]}.items()}
    micros |= {"exact": np.array([6.0, 12.0]), "rough": np.array([2.0, 4.0]), "rougher": np.array([1.0, 1.0])}
    rows = list(timed([*ours, *theirs], 1, micros, ("fp32", "int8", "broken")))
    by_name = {r.subject: r.timing(1) for r in rows}
    exact, rough = by_name["exact"], by_name["rough"]
    assert exact is not None
    assert rough is not None
    assert (exact.against, rough.against) == ("fp32", "int8")
    assert exact.times is not None
    assert (exact.times.median, exact.times.p10, exact.times.p90) == (3.0, 3.0, 3.0)  # paired by round
    found, near = fastest(rows), nearest(rows)
    assert found is not None
    assert near is not None
    assert (found.subject, found.against, found.times.median) == ("rough", "int8", 2.0)
    assert near == found
    slow = list(timed([*ours, theirs[0], theirs[1]], 1, {**micros, "rough": np.array([5.0, 10.0])}, ("fp32", "int8")))
    found, near = fastest(slow), nearest(slow)
    assert found is not None
    assert near is not None
    assert (found.subject, found.times.median) == ("rough", 5.0)
    assert (near.subject, near.times.median) == ("exact", 3.0)  # slower, and more exact than our fastest
    assert fastest(ours) is None


def test_environments_lie_where_setup_puts_them(monkeypatch) -> None:
    monkeypatch.delenv("EDGEKIT_BENCH_ENVIRONMENTS", raising=False)
    root = Path(__file__).parents[2]
    assert environments.environments_folder() == root / ".cache" / "bench"
    done = subprocess.run(
        [sys.executable, root / "tools" / "bench" / "setup", "nonesuch"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "EDGEKIT_BENCH_ENVIRONMENTS": "/nonexistent"},
    )
    assert done.returncode == 2
    known = done.stderr.rpartition("known are ")[2].strip().split(", ")
    assert {peer.environment for peer in PEERS.values() if peer.environment} <= set(known)
