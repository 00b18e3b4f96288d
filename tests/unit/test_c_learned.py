"""What the C of a program that learns says of a journal: its parts, its bytes, its alarm, its files."""

from __future__ import annotations

import ctypes
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.backends.c import emit
from edgekit.backends.c.journal import journal_files
from edgekit.errors import UnsupportedError
from edgekit.ir import INT16, SPIKE, GraphBuilder
from edgekit.learn import Learning
from edgekit.learn.basis import basis_of
from edgekit.learn.flash import RamFlash
from edgekit.learn.journal import Journal
from edgekit.learn.journal_format import slot_bytes
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.plan_memory import plan_memory
from edgekit.runtime.kept import saturated
from edgekit.target import load_target
from edgekit.toolchain import build_shared

PAGE, HISTORY = 256, 2
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")
HLOP = Learning("hlop", plastic=("0", "readout"), rate=0.1, subspace=(3, 2))
WINDOWED = Learning("delta", rate=0.05, window=5)
SEEN = np.abs(np.random.default_rng(2).normal(size=(100, 7)))  # what the read-out is given
PROTOTYPES = Learning("prototypes", tasks=2, classes=6, basis=basis_of(SEEN, np.arange(100) % 5, 5))
PROGRAM = """
#include "MODEL.c"
#include "ekj_journal.c"
#include "ekj_ram.c"
static MODEL model;
static ekj_part parts[MACRO_PARTS] = MACRO(&model); /* constant enough for a static array */
static ekj_journal journal;
static ekj_flash flash;
static ekj_ram ram;
int app_start(uint8_t *image, uint32_t pages, const uint8_t *sha256) {
    int code;
    MODEL_init(&model);
    ekj_ram_flash(&flash, &ram, image, PAGE_BYTES, pages, 4u);
    code = ekj_open(&journal, &flash, sha256, MACRO_BYTES, HISTORY);
    return code ? code : ekj_load(&journal, parts, MACRO_PARTS);
}
int app_take(const uint8_t *blob) { return MODEL_restore(&model, blob, MODEL_state_bytes()); }
int app_give(uint8_t *blob) { return MODEL_save(&model, blob); }
int app_keep(uint32_t mark) { return ekj_commit(&journal, parts, MACRO_PARTS, mark); }
uint32_t app_learned(uint8_t *to) {
    const ekj_part here[] = MACRO(&model); /* and for one of a function */
    uint32_t i, k, n = 0;
    for (i = 0; i < sizeof here / sizeof here[0]; ++i)
        for (k = 0; k < here[i].nbytes; ++k) to[n++] = ((const uint8_t *)here[i].data)[k];
    return n;
}
"""


def net(kind: str):
    """Two dense layers; `lif` with a spiking neuron between them."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    if kind == "mlp":
        return torch.nn.Sequential(torch.nn.Linear(9, 7), torch.nn.ReLU(), torch.nn.Linear(7, 5))
    snntorch = pytest.importorskip("snntorch")
    neuron = snntorch.Leaky(beta=0.9, init_hidden=True)
    return torch.nn.Sequential(torch.nn.Linear(9, 7), neuron, torch.nn.Linear(7, 5))


@pytest.fixture(
    scope="module",
    params=[
        ("mlp", "fp32", HLOP),
        ("mlp", "int8", HLOP),
        ("lif", "int8", WINDOWED),
        ("lif", "fp32", WINDOWED),
        ("mlp", "int8", PROTOTYPES),
    ],
    ids=lambda p: f"{p[2].rule}-{p[0]}-{p[1]}",
)
def session(request: pytest.FixtureRequest) -> edgekit.Session:
    """A program on which every learned number was changed by learning, or is about to be."""
    kind, precision, learning = request.param
    rng = np.random.default_rng(1)
    windows = rng.normal(size=(20, learning.window, 9)).astype(np.float32)
    artifact = edgekit.convert(
        net(kind), np.zeros((1, 9), np.float32), name=f"{kind}_{precision}", learn=learning, precision=precision,
        calib=windows if precision == "int8" else None,
    )  # fmt: skip
    made = edgekit.load(artifact, engine="reference")
    for at, window in enumerate(windows):
        made.learn(window if learning.window > 1 else window[0], at % 5)
    return made


def built(session: edgekit.Session, compiler: str | None = None, extra: tuple[str, ...] = ()) -> ctypes.CDLL:
    """The program of a session with its journal, as an application writes it down."""
    artifact = session.artifact
    files = {n.removeprefix("c/"): text for n, text in artifact.file.members.items() if n.startswith("c/")}
    model = f"ek_{artifact.name}"
    source = PROGRAM.replace("MODEL", model).replace("MACRO", f"{model.upper()}_LEARNED")
    source = source.replace("PAGE_BYTES", f"{PAGE}u").replace("HISTORY", f"{HISTORY}u")
    target = load_target("host")
    library = build_shared(
        {**files, "app.c": source}, "app.c", target, compiler=compiler, extra_flags=(*STRICT, *extra)
    )
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        Path(file.name).write_bytes(library)
        return ctypes.CDLL(file.name)


def extremes(session: edgekit.Session, tasks: int = 1) -> bytes:
    """Other learned numbers: of integers, a good part at either end of the range or one before it; not of `tasks`."""
    rng, made = np.random.default_rng(4), []
    for row in session.facts.layout.rows:
        if row.reset != "keep":
            continue
        if row.name == "task":
            made.append(np.full(row.shape, tasks).astype(row.stored))
        elif row.dtype.is_integer:
            low, high = row.dtype.limits
            made.append(rng.choice([low, low + 1, low + 2, -1, 0, high - 1, high], size=row.shape).astype(row.stored))
        else:
            made.append(rng.normal(size=row.shape).astype(row.stored))
    return b"".join(a.tobytes() for a in made)


@pytest.mark.drawn(2)
def test_the_parts_are_what_python_calls_learned(session: edgekit.Session) -> None:
    library, layout = built(session), session.facts.layout
    image = ctypes.create_string_buffer(b"\xff" * PAGE * 40, PAGE * 40)
    assert library.app_start(image, 40, bytes(32)) == 7, "factory weights"
    for learned in (layout.first_learned(), session.learned(), extremes(session)):
        found = ctypes.create_string_buffer(len(learned) + 8)
        assert library.app_take(layout.with_learned(session.save_state(), learned)) == 0
        assert library.app_learned(found) == len(learned) == layout.learned_bytes
        assert found.raw == learned + bytes(8)
    assert session.learned() != layout.first_learned()


@pytest.mark.drawn(2)
def test_one_journal_for_the_board_and_for_python(session: edgekit.Session) -> None:
    """The image that C writes opens in Python, with the SHA-256 of the artifact, and the other way round."""
    library, layout = built(session), session.facts.layout
    sha256, pages = bytes.fromhex(session.artifact.sha256), slot_bytes(layout.learned_bytes, PAGE) // PAGE * 4
    flash = RamFlash(PAGE, pages)
    image = (ctypes.c_uint8 * flash.size).from_buffer(flash.image)
    assert library.app_start(image, pages, sha256) == 7
    assert library.app_take(session.save_state()) == 0
    assert library.app_keep(20) == 0
    journal = Journal(flash, sha256, layout.learned_bytes, HISTORY)
    assert journal.load() == session.learned()
    assert journal.status().mark == 20
    journal.commit(extremes(session), 21)
    assert library.app_start(image, pages, sha256) == 0
    found = ctypes.create_string_buffer(len(session.save_state()))
    assert library.app_give(found) == 0
    assert layout.learned(found.raw) == extremes(session)


@pytest.mark.drawn(2)
def test_the_alarm_counts_what_python_counts(session: edgekit.Session) -> None:
    library, layout, name = built(session), session.facts.layout, f"ek_{session.artifact.name}"
    if not session.artifact.graph.is_integer:
        assert not hasattr(library, f"{name}_saturated"), "floats have no end of the range"
        return

    def counted(learned: bytes) -> int:
        blob = layout.with_learned(session.save_state(), learned)
        assert getattr(library, f"{name}_restore")(model, blob, len(blob)) == 0
        return int(getattr(library, f"{name}_saturated")(model))

    room = ctypes.create_string_buffer(getattr(library, f"{name}_sizeof")() + 64)
    model = ctypes.c_void_p(ctypes.addressof(room) + -ctypes.addressof(room) % 64)
    assert getattr(library, f"{name}_init")(model) == 0
    assert counted(session.learned()) == 0
    expected = saturated(session.facts, extremes(session))
    assert 0 < expected < layout.learned_bytes // 2
    assert counted(extremes(session)) == expected
    assert counted(extremes(session, tasks=32767)) == expected, "the number of tasks is no weight"


@pytest.mark.drawn(4)
@pytest.mark.parametrize("compiler", ["gcc", "clang", "zig"])
def test_every_compiler_takes_it_without_a_warning(session: edgekit.Session, compiler: str) -> None:
    assert built(session, compiler)


def test_the_header_says_the_calls_that_there_are(session: edgekit.Session) -> None:
    """Every function that the comment names is declared, and of the entries that learn none is left out."""
    name = f"ek_{session.artifact.name}"
    header = session.artifact.file.members[f"native/{name}.h"].decode()
    comment = re.search(r"/\* What is learned.*?\*/", header, re.DOTALL).group()
    declared = set(re.findall(rf"\b({name}_\w+)\(", header))
    assert set(re.findall(rf"\b{name}_\w+", comment)) <= declared
    entries = {f"{name}_{e}" for e in session.artifact.graph.entries if e not in ("quantize", "dequantize")}
    assert entries <= set(re.findall(rf"\b{name}_\w+", comment))
    journal = journal_files()["ekj_journal.h"]
    assert set(re.findall(r"\bekj_\w+|EKJ_\w+", comment)) <= {"ekj_journal", *re.findall(r"\bekj_\w+|EKJ_\w+", journal)}


def test_the_artifact_brings_the_sources_of_the_journal(session: edgekit.Session) -> None:
    members = session.artifact.file.members
    assert all(members[f"c/{name}"].decode() == text for name, text in journal_files().items())


# --- programs that do not learn


def emitted(b: GraphBuilder):
    graph = run_passes(b.build(), LOWER)
    return emit(graph, plan_memory(graph, align=4, lanes=4))


def kept(*dtypes):
    """A graph that keeps states of these dtypes, or none."""
    b = GraphBuilder("idle")
    x = b.input("x", (4,), INT16)
    b.output(b.op("add", x, x, saturate=True))
    for at, dtype in enumerate(dtypes):
        b.state(f"k{at}", np.zeros(4), dtype, reset="keep")
    return emitted(b)


def test_a_program_that_keeps_nothing_has_nothing_of_it() -> None:
    files = kept().files
    assert not [name for name in files if name.startswith("ekj")]
    assert not re.search("journal|learned|saturated", files["ek_idle.h"] + files["ek_idle.c"], re.IGNORECASE)


def test_kept_spikes_are_told_not_stored_wrongly() -> None:
    files = kept(INT16, SPIKE).files
    assert "A reset keeps spikes, k1: a journal cannot take them" in files["ek_idle.h"]
    assert "_LEARNED" not in files["ek_idle.h"]
    assert "saturated" not in files["ek_idle.c"]
    assert not [name for name in files if name.startswith("ekj")]


def test_an_entry_cannot_take_the_name_of_the_alarm() -> None:
    b = GraphBuilder("idle")
    x = b.input("x", (4,), INT16)
    b.output(b.op("add", x, x, saturate=True))
    b.entry("saturated")
    y = b.input("y", (4,), INT16)
    b.output(b.op("add", y, y, saturate=True))
    with pytest.raises(UnsupportedError, match="entry saturated: a function of that name exists already"):
        emitted(b)
