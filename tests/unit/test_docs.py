"""The documentation: up to date, without dead links, its commands run as written, its messages are the code's."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from converted import ROOT

from tools.docs.blocks import PYTHON, SHELL, blocks
from tools.docs.execute import execute, prepare
from tools.docs.links import HISTORY, anchors, broken, pages, slug
from tools.docs.messages import is_said, quoted, texts
from tools.docs.pages import stale
from tools.docs.shown import refused, shown
from tools.docs.stranger import unknown
from tools.docs.worker import Worker

DOCS = ROOT / "docs"
# What makes an environment or needs one of its own: `python -m tools.docs.stranger` runs them all in a fresh clone.
SETUP = ("python3 -m venv", "pip install", "git clone", "edgekit doctor", "make ")
ALWAYS = ("README.md", "docs/QUICKSTART.md", "docs/CONCEPTS.md", "docs/ARTIFACT.md")
DRAWN = ("docs/GUIDE.md", "docs/LEARNING.md")  # each takes some seconds
# What the page on streams takes for granted, and what stands for a sensor there.
STREAM = """```sh
python -m examples.har.export --split synthetic -o windows.npz
edgekit convert examples/har/checkpoints/l2mu_synthetic.pt --target raspberrypi4 -o har.edge
```
```python
import numpy as np
np.savetxt("recording.csv", np.load("windows.npz")["x"][:2].reshape(-1, 6), delimiter=",")
```
"""
# What the page on fine-tuning does.
TUNING = """```sh
python -m examples.har.export --split synthetic -o train.npz
python -m examples.har.export --split synthetic --side validation -o valid.npz
cp examples/har/checkpoints/mlp_synthetic.pt model.pt
```
```python
from pathlib import Path
Path("recipe.toml").write_text('schema_version = 1\\nprecision = "int4"\\n[tuning]\\nepochs = 1\\n')
```
"""
SENSORS = re.compile(r"serial:|udp:|/dev/")


def but_setup(command: str) -> str | None:
    return None if command.startswith(SETUP) else command


@pytest.fixture(scope="module")
def worker():
    """A process that has loaded the packages, whose forks run commands: a page is run as written, but sooner."""
    pytest.importorskip("torch")
    started = Worker()
    yield started
    started.close()


def test_generated_pages_are_what_would_be_written_now():
    pytest.importorskip("torch")
    assert stale() == [], "python -m tools.docs"


def test_every_link_and_every_path_leads_somewhere():
    assert broken() == []


def test_an_anchor_is_spelled_as_the_site_spells_it():
    assert slug("Bringing your own module") == "bringing-your-own-module"
    assert slug("`.edge`, a [file](x.md) of 2 kB") == "edge-a-file-of-2-kb"
    assert "what-lasts" in anchors(DOCS / "LEARNING.md")


@pytest.mark.slow
@pytest.mark.parametrize("page", ALWAYS)
def test_a_page_runs_as_written_and_prints_what_it_says(page, tmp_path, worker):
    assert execute(ROOT / page, prepare(tmp_path), but_setup, worker=worker) == []


@pytest.mark.drawn(2)
@pytest.mark.slow
@pytest.mark.parametrize("page", DRAWN)
def test_a_page_for_use_runs_as_written_and_prints_what_it_says(page, tmp_path, worker):
    assert execute(ROOT / page, prepare(tmp_path), worker=worker) == []


def test_there_is_no_page_whose_blocks_nobody_runs():
    run = {page for page in pages() if any(block.language in (SHELL, PYTHON) for block in blocks(page))}
    assert {page.relative_to(ROOT).as_posix() for page in run} == {*ALWAYS, *DRAWN, "docs/STREAM.md", "docs/TUNING.md"}


@pytest.mark.drawn(3)
@pytest.mark.slow
def test_the_page_on_fine_tuning_trains_a_model(tmp_path, worker):
    given = tmp_path / "given.md"
    fenced = [f"```{block.language}\n{block.text}```\n" for block in blocks(DOCS / "TUNING.md")]
    given.write_text(TUNING + "\n".join(fenced))
    assert execute(given, prepare(tmp_path), worker=worker) == []


@pytest.mark.slow
def test_the_page_on_streams_runs_but_for_its_sensors(tmp_path, worker):
    """Its commands are indented, for some need a sensor: those are told by their addresses, and the others are run."""
    given = tmp_path / "given.md"
    page = DOCS / "STREAM.md"
    calls = [shlex.join(["edgekit", *words]) for words, is_abridged in shown(page) if not is_abridged]
    commands = [
        f"{call}{'' if '--input' in call else ' < recording.csv'}" for call in calls if not SENSORS.search(call)
    ]
    assert len(commands) > 2
    fenced = [f"```{block.language}\n{block.text}```\n" for block in blocks(page)]
    assert fenced
    given.write_text(STREAM + "\n".join(["```sh", *commands, "```", *fenced]))
    assert execute(given, prepare(tmp_path), worker=worker) == []


def test_every_command_of_every_page_is_one_that_the_command_line_takes():
    found = {page: list(shown(page)) for page in pages() if not page.relative_to(ROOT).as_posix().startswith(HISTORY)}
    assert sum(map(len, found.values())) > 100
    faults = [
        f"{page.name}: edgekit {' '.join(words)}: {reason}"
        for page, calls in found.items()
        if page.parent.name != "reference"  # which says how a verb is called, with words that stand for others
        for words, is_abridged in calls
        if (reason := refused(words, is_abridged))
    ]
    assert faults == []
    assert "--sped" in refused(["demo", "har", "--sped", "max"])
    assert refused(["run", "--stream"])
    assert not refused(["run", "--stream"], abridged=True)


def test_a_page_that_says_another_thing_than_happens_is_told(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\necho one; echo two\n```\n\n```text\none\nthree\n```\n")
    assert execute(page, tmp_path)[0] == "page.md:5: is not printed: three"
    page.write_text("```sh\nfalse\n```\n")
    assert "false: exit code 1, not 0" in execute(page, tmp_path)[0]
    page.write_text("```sh\nfalse  # exit code 1\n```\n\n```python\nprint(6 * 7)\n```\n\n```text\n4…\n```\n")
    assert execute(page, tmp_path) == []


def test_a_fork_of_the_worker_ends_and_prints_as_a_process_does(tmp_path, worker):
    page = tmp_path / "page.md"
    python, fails = "```python\n{}\n```\n", "```sh\nedgekit inspect none.edge{}\n```\n"
    page.write_text(
        python.format("import sys; print(sys.argv, __name__, *sys.stdin)") + "```text\n['-c'] __main__\n```\n"
    )
    assert execute(page, tmp_path, worker=worker) == []
    page.write_text(python.format("x = 1\n0 / 0"))
    assert "ZeroDivisionError" in execute(page, tmp_path, worker=worker)[0]
    page.write_text(python.format("import sys; sys.exit('no')"))
    assert execute(page, tmp_path, worker=worker)[0].endswith("exit code 1, not 0\nno\n")
    page.write_text(python.format("x = 2") + python.format("print(x)"))  # nothing is left of an earlier block
    assert "NameError" in execute(page, tmp_path, worker=worker)[0]
    page.write_text(fails.format("  # exit code 2") + "```text\nerror: none.edge: …\n```\n")
    assert execute(page, tmp_path, worker=worker) == []
    page.write_text(fails.format(" || false  # for a shell"))
    assert "exit code 1, not 0" in execute(page, tmp_path, worker=worker)[0]


def test_a_stranger_knows_nothing_of_this_checkout():
    here = {"PYTHONPATH": "/here", "EDGEKIT_SHARED": "/data", "VIRTUAL_ENV": "/here/.venv", "EDGEKIT_TEST_SEED": "3"}
    others = {"HOME": "/home/me", "LANG": "C.UTF-8"}
    assert unknown({**here, **others, "PATH": "/here/.venv/bin:/usr/bin"}) == {**others, "PATH": "/usr/bin"}


def test_what_make_is_told_to_do_is_there():
    """Targets of make that README names; `python -m tools.docs.stranger` runs them."""
    named = set(re.findall(r"(?:`|^ *)make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    targets = set(re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= {name for line in targets for name in line.split()}
    assert all(block.commands() for page in DOCS.glob("*.md") for block in blocks(page) if block.language == SHELL)


def test_troubleshooting_quotes_what_the_code_says():
    said, messages = texts(ROOT / "edgekit"), quoted(DOCS / "TROUBLESHOOTING.md")
    assert len(messages) > 50
    assert [message for message in messages if not is_said(message, said)] == []
    assert is_said("required … bytes, available … bytes, excess … bytes", said)
    for other in (
        "required … bytes, available … bytes",  # half of it
        "required … kB, available … bytes, excess … bytes",
        "required bytes, available bytes, excess bytes",  # without what is filled in
        "is not a complete",  # a scrap
        "state blob",
        "…",
        "mixes the samples of a stream",
    ):
        assert not is_said(other, said), other


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_asks_nothing_of_other_servers(tmp_path):
    pytest.importorskip("material")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 40
    asked = (
        r"""<(?:script|img|iframe)[^>]+src=["']?(?:https?:)?//|<link[^>]+rel=["']?stylesheet[^>]+href=["']?https?:"""
    )
    assert [str(page) for page in pages if re.search(asked, page.read_text())] == []
    assert "@import" not in Path(tmp_path / "site.css").read_text()
