"""The house: what is public exists and says what it does, files stay small, and every table covers its folder."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomllib
from converted import ROOT

import edgekit
from edgekit import errors
from edgekit.target import list_targets, load_target

PACKAGE = ROOT / "edgekit"
SOURCES = sorted(p for p in PACKAGE.rglob("*.py"))
MAX_LINES = 450
# The one table of ATen ops.
LONG = {"frontends/aten.py": 700}


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_the_public_api_is_what_it_says():
    assert list(edgekit.__all__) == sorted(edgekit.__all__)
    assert set(edgekit.__all__) == {"Artifact", "Session", "Target", "__version__", "convert", "load", "save"}
    for name in edgekit.__all__:
        assert getattr(edgekit, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'train'"):
        edgekit.train  # noqa: B018
    assert re.fullmatch(r"\d+\.\d+\.\d+", edgekit.__version__)


def test_convert_is_a_function_whatever_was_imported_before():
    """`edgekit.convert` is also the module that holds it."""
    importlib.import_module("edgekit.convert")
    assert callable(edgekit.convert)
    with pytest.raises(errors.UsageError, match="precision 'int3'"):
        edgekit.convert(None, precision="int3")


def packages() -> Iterator[str]:
    for info in pkgutil.walk_packages([str(PACKAGE)], "edgekit."):
        if info.ispkg:
            yield info.name


@pytest.mark.parametrize("name", list(packages()))
def test_every_name_a_package_exports_exists(name):
    pytest.importorskip("torch")
    module = importlib.import_module(name)
    for exported in getattr(module, "__all__", ()):
        assert getattr(module, exported) is not None


def undocumented(path: Path) -> Iterator[str]:
    """The module, and the public functions and classes in it, where they have no docstring."""
    tree = ast.parse(path.read_text())
    named = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    for node in (tree, *named) if tree.body else ():
        if ast.get_docstring(node) is None:
            yield f"{relative(path)}: {getattr(node, 'name', 'the module')}"


def test_everything_public_has_a_docstring():
    assert [missing for path in SOURCES for missing in undocumented(path)] == []


def test_no_file_grows_beyond_what_one_can_read():
    lines = {relative(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: n for name, n in lines.items() if n > LONG.get(name, MAX_LINES)} == {}


def test_nothing_is_left_to_be_done_or_tied_to_one_machine():
    words = ("TODO", "FIXME", "XXX", "raise NotImplementedError", "breakpoint(", "/home/")
    files = [*SOURCES, *PACKAGE.rglob("*.[ch]"), *(ROOT / "targets").rglob("*.*")]
    assert [f"{path.name}: {word}" for path in files for word in words if word in path.read_text()] == []


def test_every_error_belongs_to_the_one_tree_and_is_drawn_in_it():
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert all(issubclass(c, errors.EdgekitError) for c in classes)
    for c in classes:
        assert c.__name__ in str(errors.__doc__)


def test_an_error_names_thing_cause_and_remedy_in_one_line_then_lists():
    error = errors.UsageError("option --x", "is wrong", "leave it out", ["first", "second"])
    assert str(error) == "option --x: is wrong; leave it out\n  - first\n  - second"
    assert (error.thing, error.cause, error.remedy, error.items) == (
        *("option --x", "is wrong", "leave it out"),
        ("first", "second"),
    )
    capacity = errors.CapacityError("target t, flash", 3000, 1000, "prune")
    assert "required 3,000 bytes, available 1,000 bytes, excess 2,000 bytes" in str(capacity)


def test_every_target_file_loads_and_says_where_its_figures_come_from():
    files = {p.stem for p in (ROOT / "targets").glob("*.toml")}
    assert files <= set(list_targets())
    for name in list_targets():
        target = load_target(name)
        assert target.name == name
        assert target.description
        if name in files:
            written = tomllib.loads((ROOT / "targets" / f"{name}.toml").read_text())
            assert written.get("sources"), f"{name} has figures without sources"


def test_packages_are_declared_once_and_torch_is_optional():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {re.split(r"[<>=;\[ ]", d)[0] for d in project["dependencies"]}
    assert required == {"numpy", "safetensors", "typer", "rich", "tomli"}
    assert "torch" in " ".join(project["optional-dependencies"]["convert"])
    assert project["requires-python"] == ">=3.10"
