"""What runs on a board: the streamer, a TensorRT engine, programs of other architectures."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from converted import artifact, edgekit_main, module, stream
from deploys import NO_STREAM, board_fault, csv, current, decisions, put, quantised, quick_boards, staged, to
from sshd import Start, found, soon

import edgekit
from edgekit.artifact import Artifact
from edgekit.deploy import Wish, deploy, read_step
from edgekit.deploy.contents import stream_of
from edgekit.deploy.streamer import build_streamer
from edgekit.errors import ReplayError, TargetError, UsageError
from edgekit.profile.ssh_stop import Stop, StoppedError
from edgekit.streaming import Options
from edgekit.target import load_target
from edgekit.toolchain.qemu_user import find_qemu, qemu_name

STRICT = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-function")  # of the headers it uses a part
ARCHES = ("x86_64", "aarch64", "armv7")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with quick_boards(tmp_path) as start:
        yield start


@pytest.mark.slow
def test_what_was_deployed_decides_about_a_stream_as_the_front_door_does(start):
    board, options = start(), Options(window=20, stride=7)
    x = stream(300)
    for what, chosen in (
        (artifact("mlp"), Options()),
        (artifact("l2mu"), options),
        (quantised("host"), options),
    ):
        wish = Wish(what, stream_of(what, chosen, needed=True))
        outcome = deploy(to(board), wish, config=str(board.config))
        done = subprocess.run([f"{outcome.path}/run"], input=b"a,b,c\n" + csv(x), capture_output=True, check=True)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert found == decisions(what, chosen, x)
        assert len(found) > 30
        assert f"decisions: {len(found)}" in done.stderr.decode()


def test_a_line_that_is_no_sample_ends_the_windows_and_is_said(start, tmp_path):
    what, options = artifact("l2mu"), Options(window=20)
    board, x = start(), stream(50)
    outcome = deploy(to(board), Wish(what, stream_of(what, options, needed=True)), config=str(board.config))
    broken = csv(x[:30]) + b"1,nan,2\n" + b"7" * 70_000 + b"\n# said by nobody\n\n" + csv(x[30:])
    (source := tmp_path / "samples").write_bytes(broken)
    (link := tmp_path / "har").symlink_to(f"{outcome.path}/run")
    done = subprocess.run([link, str(source)], capture_output=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    after = decisions(what, options, x[30:])
    assert [(d["start"], d["end"]) for d in found] == [(0, 20), (30, 50)]
    assert [d["label"] for d in found] == [decisions(what, options, x[:20])[0]["label"], after[0]["label"]]
    assert "line 31" in done.stderr.decode()
    assert "lines that are no sample: 2" in done.stderr.decode()


# Plays trtexec: writes down what it was asked, and as outputs what it was told to.
TRTEXEC = """
echo "$*" >>"$TMPDIR/calls"
for option in "$@"; do
  case $option in
    --saveEngine=*) echo engine >"${{option#*=}}" ;;
    --exportOutput=*) echo '{said}' >"${{option#*=}}" ;;
  esac
done
"""


@pytest.mark.slow
def test_an_engine_is_built_there_and_compared_with_the_self_test(start, tmp_path):
    pytest.importorskip("onnx")
    edgekit.save(module("l2mu"), tmp_path / "net.pt")
    made = edgekit_main("convert", tmp_path / "net.pt", "--format", "edge,onnx", "-o", tmp_path / "net")
    assert made.returncode == 0, made.stderr
    what, model = Artifact.open(tmp_path / "net.edge"), tmp_path / "net.onnx"
    (first,) = (outputs[0] for outputs in what.selftest.outputs.values())
    said = json.dumps([{"name": "y", "dimensions": "1x4", "values": list(map(float, first))}])
    wish = Wish(what, NO_STREAM, step=read_step(model, what))
    board = start({"trtexec": TRTEXEC.format(said=said)})
    outcome = deploy(to(board), wish, config=str(board.config))
    assert outcome.engine_error == 0
    assert (Path(outcome.path) / "model.engine").read_text() == "engine\n"
    assert {"model.engine", "model.onnx"} <= set((Path(outcome.path) / "SHA256SUMS").read_text().split())
    assert current(board, what.name) == what.sha256
    assert not list(Path(outcome.path).glob("tensorrt-*"))
    build, run = (board.temporary / "calls").read_text().splitlines()
    assert "--optShapes=x:1x3," in build
    assert "--loadInputs=x:tensorrt-input0," in run
    assert deploy(to(board), wish, config=str(board.config)).state == put(board, what).state == "already there"
    with board_fault(board, "trtexec", "echo $$ >$TMPDIR/trtexec; exec sleep 30"):
        stop, number = Stop(), board.temporary / "trtexec"
        stopper = threading.Thread(target=lambda: (soon(number.exists, "it was not called"), stop.ask()))
        stopper.start()
        with pytest.raises(StoppedError):
            deploy(to(board), replace(wish, again=True), config=str(board.config), stop=stop)
        stopper.join()
        soon(lambda: not Path(f"/proc/{number.read_text().strip()}").exists(), "it is still at it")
    assert put(board, what, again=True).engine_dropped
    other_said = said.replace(str(float(first[0])), str(float(first[0]) + 1), 1)
    wrong = start({"trtexec": TRTEXEC.format(said=other_said)})
    with pytest.raises(ReplayError, match="differs by 1 at the first step"):
        deploy(to(wrong), wish, config=str(wrong.config))
    assert staged(wrong) == []
    with pytest.raises(TargetError, match="has no trtexec; on JetPack"):
        deploy(to(empty := start()), wish, config=str(empty.config))
    with pytest.raises(UsageError, match="takes, gives or keeps something else"):
        read_step(model, artifact("mlp"))


@pytest.mark.parametrize("arch", ARCHES)
def test_the_streamer_builds_for_every_architecture_without_a_warning(arch):
    assert build_streamer(arch, extra_flags=STRICT)[:4] == b"\x7fELF"


# A Pi 4 and an STM32MP157: what the kernel says of their processors, and what qemu calls these.
BOARDS = {
    "raspberrypi4": ("aarch64", "cortex-a72", "fp asimd evtstrm crc32 cpuid"),
    "stm32mp157": ("armv7l", "cortex-a7", "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae"),
}
# What a kernel with binfmt_misc does: programs that were copied run through qemu; and its own cpuinfo.
THROUGH = """#!/bin/sh
command=$(printf %s "$SSH_ORIGINAL_COMMAND" |
  sed -e 's#\\./measurer#{qemu} ./measurer#; s#\\./streamer#{qemu} ./streamer#; s#/proc/cpuinfo#{cpuinfo}#')
exec sh -c "$command"
"""


@pytest.mark.slow
@pytest.mark.parametrize("target", BOARDS)
def test_a_board_of_another_architecture_is_deployed_to_through_its_own_instructions(start, tmp_path, target):
    machine, core, features = BOARDS[target]
    arch = load_target(target).arch
    qemu = [find_qemu(arch) or found(f"{qemu_name(arch)}-static"), "-cpu", core]
    (cpuinfo := tmp_path / "cpuinfo").write_text(f"processor : 0\nFeatures\t: {features}\n")
    (through := tmp_path / "through").write_text(THROUGH.format(qemu=" ".join(qemu), cpuinfo=cpuinfo))
    through.chmod(0o755)
    board = start({"uname": f'case "$1" in -m) echo {machine};; *) exec /bin/uname "$@";; esac'}, command=str(through))
    what, options = quantised(target), Options(window=20, stride=10)
    outcome = deploy(to(board), Wish(what, stream_of(what, options, needed=True)), config=str(board.config))
    assert (outcome.state, outcome.board.arch) == ("deployed", arch)
    assert outcome.selftest is not None
    assert outcome.selftest.worst_error == 0
    here, x = Path(outcome.path), stream(100)
    command = [*qemu, here / "streamer", here / "stream.job", here / "program.so"]
    done = subprocess.run(command, input=csv(x), capture_output=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == decisions(what, options, x)
    cpuinfo.write_text(cpuinfo.read_text().replace("crc32", "").replace("vfpv4", ""))
    with pytest.raises(TargetError, match=f"lacks instructions that this program for {target} is made of"):
        deploy(to(board), Wish(what, NO_STREAM, again=True), config=str(board.config))
