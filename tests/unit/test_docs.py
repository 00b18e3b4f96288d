"""The documentation: up to date, without dead links, its commands run as written, its messages are the code's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from converted import ROOT

from tools.docs.blocks import SHELL, blocks
from tools.docs.execute import execute, prepare
from tools.docs.links import anchors, broken, slug
from tools.docs.pages import stale

DOCS = ROOT / "docs"
# What makes an environment or needs one of its own: `python -m tools.docs.stranger` runs them all in a fresh clone.
SETUP = ("python3 -m venv", "pip install", "git clone", "edgekit doctor", "make ")


def but_setup(command: str) -> str | None:
    return None if command.startswith(SETUP) else command


def test_generated_pages_are_what_would_be_written_now():
    pytest.importorskip("torch")
    assert stale() == [], "python -m tools.docs"


def test_every_link_and_every_path_leads_somewhere():
    assert broken() == []


def test_an_anchor_is_spelled_as_the_site_spells_it():
    assert slug("Bringing your own module") == "bringing-your-own-module"
    assert slug("`.edge`, a [file](x.md) of 2 kB") == "edge-a-file-of-2-kb"
    assert "what-lasts" in anchors(DOCS / "LEARNING.md")


@pytest.mark.drawn(2)
@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/QUICKSTART.md", "docs/CONCEPTS.md", "docs/ARTIFACT.md"])
def test_a_page_runs_as_written_and_prints_what_it_says(page, tmp_path):
    pytest.importorskip("torch")
    assert execute(ROOT / page, prepare(tmp_path), but_setup) == []


def test_a_page_that_says_another_thing_than_happens_is_told(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\necho one; echo two\n```\n\n```text\none\nthree\n```\n")
    assert execute(page, tmp_path)[0] == "page.md:5: is not printed: three"
    page.write_text("```sh\nfalse\n```\n")
    assert "false: exit code 1, not 0" in execute(page, tmp_path)[0]
    page.write_text("```sh\nfalse  # exit code 1\n```\n\n```python\nprint(6 * 7)\n```\n\n```text\n4…\n```\n")
    assert execute(page, tmp_path) == []


def test_what_make_is_told_to_do_is_there():
    """Targets of make that README names; `python -m tools.docs.stranger` runs them."""
    named = set(re.findall(r"(?:`|^ *)make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    targets = set(re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= {name for line in targets for name in line.split()}
    assert all(block.commands() for page in DOCS.glob("*.md") for block in blocks(page) if block.language == SHELL)


def messages() -> list[str]:
    """The messages that headings of the page on troubleshooting quote."""
    titles = re.findall(r"^### (.+)$", (DOCS / "TROUBLESHOOTING.md").read_text(), re.MULTILINE)
    return [message for title in titles for message in re.findall("`([^`]+)`", title)]


def test_troubleshooting_quotes_what_the_code_says():
    assert len(messages()) > 30
    parts = [part.strip() for message in messages() for part in message.split("…")]
    sources = "".join(path.read_text() for path in (ROOT / "edgekit").rglob("*.py"))
    texts = re.sub(r'"\s+f?"', "", sources)  # a message that goes over several lines is one
    assert [part for part in parts if part not in texts] == []


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
