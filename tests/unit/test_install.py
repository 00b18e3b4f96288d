"""The wheel in a clean environment without torch and without a compiler, and what importing edgekit costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from converted import ROOT, artifact, stream

import edgekit

KERNELS = ROOT / "edgekit" / "backends" / "c" / "kernels"
IMPORT_SECONDS = 0.1  # over numpy's own import


# --- importing -------------------------------------------------------------------------------------------------------

TIMED = """
import sys, time
import numpy
started = time.perf_counter()
import edgekit
seconds = time.perf_counter() - started
for name in edgekit.__all__:
    if name not in ("save", "convert"):
        getattr(edgekit, name)
assert "torch" not in sys.modules, "torch was imported"
print(seconds)
"""


def test_import_is_quick_and_brings_no_torch():
    seconds = []
    for _ in range(7):
        done = subprocess.run([sys.executable, "-c", TIMED], capture_output=True, text=True, check=True, cwd=ROOT)
        seconds.append(float(done.stdout))
    assert min(seconds) < IMPORT_SECONDS, seconds


def test_running_and_inspecting_an_artifact_imports_no_torch(tmp_path):
    path = artifact("mlp").save(tmp_path / "m.edge")
    np.save(tmp_path / "x.npy", stream(4))
    code = f"""
import sys
sys.modules["torch"] = None  # whoever imports it now fails
import numpy as np, edgekit
session = edgekit.load({str(path)!r})
session.run(np.load({str(tmp_path / "x.npy")!r}))
session.step(np.zeros(3, np.float32)); session.reset(); session.restore_state(session.save_state())
from edgekit.cli import main
for words in (["run", {str(path)!r}, "--input", {str(tmp_path / "x.npy")!r}], ["inspect", {str(path)!r}, "--selftest"],
              ["targets"], ["doctor"], ["supported-ops"], ["trust"]):
    sys.argv = ["edgekit", *words]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


# --- the wheel -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clean:
    """An environment that has the wheel and what it requires, and nothing else."""

    wheel: Path
    python: Path
    folder: Path

    def run(self, *arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, outside the checkout, with no compiler on the path."""
        bare = {"PATH": str(self.python.parent), "HOME": str(self.folder), "EDGEKIT_HOME": str(self.folder / "home")}
        return subprocess.run(
            list(map(str, arguments)),
            cwd=self.folder,
            env={**bare, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )

    def evaluate(self, code: str, **options: dict[str, str]) -> dict:
        """What a script prints as JSON."""
        done = self.run(self.python, "-c", code, **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def clean(tmp_path_factory) -> Clean:
    folder = tmp_path_factory.mktemp("clean")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("edgekit-*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run(install, check=True, capture_output=True, env=environment)
    return Clean(wheel, python, folder)


@pytest.mark.slow
def test_the_wheel_holds_targets_kernels_and_licence_and_no_tests(clean):
    with zipfile.ZipFile(clean.wheel) as wheel:
        names = set(wheel.namelist())
    for path in (ROOT / "targets").glob("*.toml"):
        assert f"edgekit/_targets/{path.name}" in names
    for path in (*KERNELS.rglob("*.[ch]"), *KERNELS.with_name("journal").glob("*.[ch]")):
        assert str(path.relative_to(ROOT)) in names
    assert "edgekit/toolchain/runner/runner.c" in names
    assert "edgekit/py.typed" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "examples/", "tools/"))]
    models = {f"edgekit/_har/{path.name}" for path in (ROOT / "examples" / "har" / "checkpoints").iterdir()}
    assert models <= names
    assert not [name for name in names - models if name.endswith((".pt", ".npz", ".edge", ".pyc"))]


@pytest.mark.slow
def test_the_environment_has_neither_torch_nor_a_compiler(clean):
    code = "import importlib.util as u, json; print(json.dumps([n for n in %r if u.find_spec(n)]))"
    assert clean.evaluate(code % ["torch", "ziglang", "unicorn", "pytest", "onnxruntime"]) == []
    found = clean.evaluate("import edgekit, json; print(json.dumps(edgekit.__file__))")
    assert Path(found).is_relative_to(clean.folder), "the checkout was imported, not the wheel"


@pytest.mark.slow
def test_the_command_line_works_in_it(clean):
    script = clean.python.with_name("edgekit")
    assert clean.run(script, "--version").stdout == f"edgekit {edgekit.__version__}\n"
    targets = json.loads(clean.run(script, "targets", "--json").stdout)["targets"]
    assert {"host", "raspberrypi4"} <= {t["name"] for t in targets}
    assert clean.run(script, "supported-ops").returncode == 0
    doctor = json.loads(clean.run(script, "doctor", "--json").stdout)
    zig = next(t for t in doctor["tools"] if "zig" in t["tool"])
    assert not zig["ok"]
    assert "pip install" in zig["remedy"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mlp", "l2mu"])
def test_an_artifact_runs_in_it(clean, family):
    path, x = artifact(family).save(clean.folder / f"{family}.edge"), stream(30)
    np.save(clean.folder / "x.npy", x)
    code = f"""
import json, sys, numpy as np, edgekit
session = edgekit.load({str(path)!r})
y = session.run(np.load("x.npy"))
print(json.dumps({{"engine": session.engine, "y": y.tolist(), "torch": "torch" in sys.modules}}))
"""
    expected = edgekit.load(artifact(family)).run(x)
    answer = clean.evaluate(code)
    assert answer["engine"].startswith("reference"), "no compiler is there, and nothing is trusted"
    np.testing.assert_allclose(answer["y"], expected, rtol=1e-5, atol=1e-5)
    script = clean.python.with_name("edgekit")
    assert clean.run(script, "trust", path).returncode == 0
    answer = clean.evaluate(code)
    assert answer["engine"].startswith("native")
    assert not answer["torch"]
    np.testing.assert_array_equal(np.array(answer["y"], np.float32), expected)


@pytest.mark.slow
def test_what_needs_torch_or_a_compiler_says_how_to_get_it(clean):
    script = clean.python.with_name("edgekit")
    (clean.folder / "net.pt").write_bytes(b"x")
    artifact("mlp").save(clean.folder / "mlp.edge")
    artifact("mlp", target="raspberrypi4").save(clean.folder / "pi.edge")
    np.save(clean.folder / "x.npy", stream(4))
    for words, remedy in (
        (("convert", "net.pt"), "edgekit[convert]"),
        (("verify", "mlp.edge", "--reference", "net.pt"), "edgekit[convert]"),
        (("run", "pi.edge", "--input", "x.npy", "--on", "emulator"), "edgekit[emulate]"),
        (("run", "mlp.edge", "--input", "x.npy", "--engine", "rebuilt"), "edgekit[convert]"),
    ):
        done = clean.run(script, *words)
        assert done.returncode == 2, (words, done)
        assert done.stderr.startswith("error: ")
        assert remedy in done.stderr, (words, done.stderr)
        assert "Traceback" not in done.stderr
