"""The example project: the artifact's C under plain arm-none-eabi-gcc, run by qemu-system-arm, beside the session."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.demo.har.synthetic import generate

ROOT = Path(__file__).parent.parent.parent
PROJECT = ROOT / "examples" / "cortex-m"
CHECKPOINT = ROOT / "examples" / "har" / "checkpoints" / "l2mu_B.pt"
CORES = {"m4": "smartwatch-m4", "m33": "smartwatch-m33", "m55": "smartwatch-m55"}
STEPS, CHANNELS = 40, 6


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm", "make"):
        if shutil.which(tool) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{tool} is not installed")
            pytest.skip(f"{tool} is not installed")


@pytest.fixture(scope="module", params=CORES)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """A core, the artifact of the shipped L2MU for it, and the folder in which make has built the project."""
    pytest.importorskip("torch")
    from edgekit.convert import Options, convert_file

    folder = tmp_path_factory.mktemp(request.param)
    options = Options(
        target=CORES[request.param], precision="int8", calib=generate(seed=1, subjects=1, windows_per_class=4).x
    )
    convert_file(CHECKPOINT, options).artifact.save(folder / "model.edge")
    made = make("all", request.param, folder)
    assert made.returncode == 0, made.stdout + made.stderr
    return request.param, folder / "model.edge", folder


def make(goal: str, core: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run make in the project, building in `folder`."""
    command = ["make", "-s", goal, f"CORE={core}", f"ARTIFACT={folder}/model.edge", f"BUILD={folder}/build"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.drawn(2)
@pytest.mark.slow
def test_it_says_what_the_session_says(built: tuple[str, Path, Path]) -> None:
    core, artifact, folder = built
    printed = make("run", core, folder).stdout
    t, i = np.arange(STEPS)[:, None], np.arange(CHANNELS)
    raw = ((t * (i + 3) % 17 - 8) * 0.5).astype(np.float32)
    votes = edgekit.load(artifact, engine="reference").run(raw).sum(axis=0).astype(int)
    assert votes.sum() > 0
    assert printed.splitlines() == [f"spikes {' '.join(map(str, votes))}", f"class {votes.argmax()}"]


@pytest.mark.slow
def test_the_core_is_a_choice_and_the_c_is_that_of_the_file(built: tuple[str, Path, Path]) -> None:
    core, artifact, folder = built
    refused = make("all", "m7", folder)
    assert refused.returncode != 0
    assert "it must be m4, m33 or m55" in refused.stderr
    with zipfile.ZipFile(artifact) as z:
        (source,) = (n for n in z.namelist() if n.startswith("c/ek_") and n.endswith(".c"))
        assert (folder / "build" / source).read_bytes() == z.read(source)
    assert core in CORES
