"""Malicious artifacts and model files with correct hashes: their code never runs before somebody trusts it."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from converted import artifact, edgekit_command, edgekit_main, stream

import edgekit
from edgekit.artifact import Artifact, pack_artifact, trust, untrust
from edgekit.errors import EdgekitError, UsageError
from edgekit.runtime import rebuild
from edgekit.target import load_target
from edgekit.toolchain import build_shared, find_compiler

EVIL = """
#include <fcntl.h>
#include <unistd.h>
static void evil(void) {
    int f = open("%s", O_CREAT | O_WRONLY, 0600);
    if (f >= 0) close(f);
}
__attribute__((constructor)) static void when_loaded(void) { evil(); }
"""
# openat(AT_FDCWD, path, O_CREAT | O_WRONLY, 0600), without any library
EVIL_AARCH64 = """
static void evil(void) {
    register long x0 __asm__("x0") = -100;
    register const char *x1 __asm__("x1") = "%s";
    register long x2 __asm__("x2") = 0101, x3 __asm__("x3") = 0600, x8 __asm__("x8") = 56;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x3), "r"(x8) : "memory");
}
"""


def repacked(original: Artifact, path: Path, **changed: bytes) -> Path:
    """The artifact with other contents of some members, every hash right."""
    members = {n: d for n, d in original.file.members.items() if n != "manifest.json"}
    manifest = {k: v for k, v in original.manifest.items() if k != "members"}
    assert set(changed) <= set(members)
    path.write_bytes(pack_artifact(manifest, {**members, **changed}))
    return path


def poisoned_sources(original: Artifact, evil: str) -> dict[str, str]:
    """The artifact's C sources; every exported function but the sizes does evil first."""
    files = {n[2:]: d.decode() for n, d in original.file.members.items() if n.startswith("c/")}
    main = f"ek_{original.name}.c"
    for name in ("init", "reset", "step", "run", "save", "restore"):
        head = f"EK_EXPORT int ek_{original.name}_{name}("
        start = files[main].index(head)
        body = files[main].index("{", start) + 1
        files[main] = files[main][:body] + " evil();" + files[main][body:]
    files[main] = evil + files[main]
    return files


@pytest.fixture(scope="session")
def poison(tmp_path_factory) -> tuple[bytes, str, Path]:
    """A library for this computer that creates a file when it is loaded or called, its source, and that file."""
    folder = tmp_path_factory.mktemp("poison")
    canary, original = folder / "canary", artifact("mlp")
    files = poisoned_sources(original, EVIL % canary)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    main = f"ek_{original.name}.c"
    gcc = shutil.which("gcc")  # at home with libc; zig would first build one
    compiler = (gcc,) if gcc else find_compiler(load_target("host")).command
    command = [*compiler, "-shared", "-fPIC", "-O1", "-I", ".", "-o", "evil.so", main]
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(folder / "z"), "ZIG_LOCAL_CACHE_DIR": str(folder / "z")}
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)
    return (folder / "evil.so").read_bytes(), files[main], canary


@pytest.fixture
def malicious(poison, tmp_path):
    library, source, canary = poison
    canary.unlink(missing_ok=True)
    original = artifact("mlp")
    changed = {original.manifest["program"]["library"]: library, f"c/ek_{original.name}.c": source.encode()}
    return repacked(original, tmp_path / "malicious.edge", **changed), canary


def test_the_poison_works_once_it_is_trusted(malicious):
    """The control: without it, the tests below could pass for the wrong reason."""
    path, canary = malicious
    trust(path)
    session = edgekit.load(path)
    assert session.engine.startswith("native")
    assert canary.exists()
    untrust(path)
    canary.unlink()
    assert not edgekit.load(path).engine.startswith("native")
    assert not canary.exists()


@pytest.mark.parametrize("engine", ["auto", "rebuilt", "reference"])
def test_an_untrusted_library_is_never_loaded(malicious, engine):
    path, canary = malicious
    session = edgekit.load(path, engine=engine)
    assert session.engine.startswith(("rebuilt", "reference"))
    x = stream(5)
    expected = edgekit.load(artifact("mlp"), engine="native").run(x)
    np.testing.assert_allclose(session.run(x), expected, rtol=1e-5, atol=1e-5)
    session.reset()
    session.restore_state(session.save_state())
    assert not canary.exists()


def test_without_a_compiler_the_reference_runs_it(malicious, monkeypatch):
    path, canary = malicious
    monkeypatch.setattr("edgekit.toolchain.compilers._command", lambda name, arch: ())
    assert edgekit.load(path).engine.startswith("reference")
    assert not canary.exists()


@pytest.mark.parametrize("engine", ["native", "qemu"])
def test_engines_that_need_trust_refuse(malicious, engine):
    path, canary = malicious
    with pytest.raises(UsageError, match="not trusted on this computer"):
        edgekit.load(path, engine=engine)
    assert not canary.exists()


def test_opening_saving_and_copying_give_no_trust(malicious, tmp_path):
    path, canary = malicious
    copy = Artifact.open(path).save(tmp_path / "copy.edge")
    assert copy.read_bytes() == path.read_bytes()
    assert not edgekit.load(copy).engine.startswith("native")
    assert not edgekit.load(Artifact.open(path)).engine.startswith("native")
    assert not canary.exists()


def test_trust_is_in_one_file_not_in_its_name(malicious, tmp_path):
    path, canary = malicious
    good = artifact("mlp").save(tmp_path / "good.edge")
    assert edgekit.load(good).engine.startswith("native")
    good.write_bytes(path.read_bytes())
    assert not edgekit.load(good).engine.startswith("native")
    assert not canary.exists()


def test_no_verb_of_the_command_line_runs_it(malicious, tmp_path):
    path, canary = malicious
    x = tmp_path / "x.npy"
    np.save(x, stream(5))
    env = {"EDGEKIT_HOME": str(tmp_path / "other-home")}
    for arguments in (
        ("run", path, "--input", x, "-o", tmp_path / "y.npy"),
        ("run", path, "--input", x, "--engine", "rebuilt"),
        ("inspect", path, "--graph", "--selftest"),
    ):
        done = edgekit_command(*arguments, env=env)
        assert done.returncode == 0, done.stderr
    refused = edgekit_command("run", path, "--input", x, "--engine", "native", env=env)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: engine 'native': the code in artifact")
    assert not canary.exists()


def test_the_source_of_an_artifact_is_never_compiled(malicious):
    """`rebuilt` makes its own C from the graph: what stands in c/ does not matter."""
    path, canary = malicious
    opened = Artifact.open(path)
    broken = repacked(opened, path, **{f"c/ek_{opened.name}.c": b"#error this was compiled\n"})
    session = edgekit.load(broken, engine="rebuilt")
    ours = rebuild(artifact("mlp").graph, "rebuilt")
    assert session.engine.startswith("rebuilt")
    assert ours.state_bytes == len(session.save_state())
    assert not canary.exists()


def test_in_the_emulator_it_cannot_reach_this_computer(tmp_path):
    original = artifact("mlp", target="raspberrypi4")
    canary = tmp_path / "canary"
    files = poisoned_sources(original, EVIL_AARCH64 % canary)
    library = build_shared(files, f"ek_{original.name}.c", load_target("raspberrypi4"))
    path = repacked(original, tmp_path / "m.edge", **{original.manifest["program"]["library"]: library})
    try:
        session = edgekit.load(path, engine="emulator")
        session.run(stream(3))
    except EdgekitError:
        pass  # a system call is nothing a program of ours makes: to refuse it is fine
    assert not canary.exists()


# --- model and data files with code in them --------------------------------------------------------------------------


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_the_payload_works():
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        pickle.loads(pickle.dumps(Payload(Path(folder) / "made")))
        assert (Path(folder) / "made").is_dir()


def write_pickle(path: Path, payload: Payload) -> None:
    path.write_bytes(pickle.dumps({"0.weight": payload}))


def write_torch(path: Path, payload: Payload) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"state_dict": {"0.weight": torch.ones(2, 2), "x": payload}}, path)


def write_torch_legacy(path: Path, payload: Payload) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"0.weight": payload}, path, _use_new_zipfile_serialization=False)


def write_numpy(path: Path, payload: Payload) -> None:
    array = np.array([payload, payload], dtype=object)
    with path.open("wb") as file:
        (np.savez(file, x=array, w=array) if path.suffix == ".npz" else np.save(file, array, allow_pickle=True))


MODELS = [
    ("model.pt", write_torch),
    ("model.pth", write_torch_legacy),
    ("model.ckpt", write_torch),
    ("model.pt", write_pickle),
    ("model.npz", write_numpy),
    ("model.npz", write_pickle),
    ("model.safetensors", write_pickle),
]


@pytest.mark.parametrize(("name", "write"), MODELS, ids=[f"{w.__name__}-{n}" for n, w in MODELS])
def test_a_pickle_with_code_in_it_never_runs(tmp_path, name, write):
    made, model = tmp_path / "made", tmp_path / name
    write(model, Payload(made))
    done = edgekit_main("convert", model, "-o", tmp_path / "m.edge")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert str(model) in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_data_with_code_in_it_never_runs(tmp_path, name):
    made, data = tmp_path / "made", tmp_path / name
    write_numpy(data, Payload(made))
    path = artifact("mlp").save(tmp_path / "m.edge")
    for arguments in (("run", path, "--input", data), ("verify", path, "--reference", path, "--data", data)):
        done = edgekit_main(*arguments)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {data}: ")
        assert "Traceback" not in done.stderr
    assert not made.exists()
