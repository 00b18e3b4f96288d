"""Hooks of mkdocs: pages and files beside docs/ belong to the site too, and links between all of them hold."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from tools.docs.links import ROOT, change_links, pages, targets

DOCS = "docs/"
FIRST = ("index.md", "README.md")


def on_config(config: Any) -> Any:
    """Folders in the navigation become all of their pages."""
    config.nav = [_expanded(entry) for entry in config.nav]
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages of the repository that lie elsewhere, and what any page links to."""
    outside = {page.relative_to(ROOT).as_posix() for page in pages()}
    for page in pages():
        outside |= {name for _, target in targets(page) if (name := _file(page, target))}
    for name in sorted(name for name in outside if not name.startswith(DOCS)):
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links as the site has them: docs/ is its root, and folders are their README."""
    source = Path(page.file.abs_src_path)
    here = posixpath.dirname(page.file.src_uri)

    def on_site(target: str) -> str:
        name = _file(source, target)
        if name is None:
            return target
        path = posixpath.relpath(name.removeprefix(DOCS), here or ".")
        return "#".join((path, *target.split("#")[1:]))

    return change_links(markdown, on_site)


def _expanded(entry: Any) -> Any:
    """An entry of the navigation in which names that end in / are lists of pages, the index or README first."""
    if isinstance(entry, dict):
        return {title: _expanded(inside) for title, inside in entry.items()}
    if isinstance(entry, list):
        return [_expanded(inside) for inside in entry]
    if not entry.endswith("/"):
        return entry
    names = {page.relative_to(ROOT).as_posix().removeprefix(DOCS) for page in pages()}
    found = sorted(name for name in names if name.startswith(entry))
    return sorted(found, key=lambda name: posixpath.basename(name) not in FIRST or name.count("/") > entry.count("/"))


def _file(page: Path, target: str) -> str | None:
    """The file that a link leads to, from the root of the repository; None for the web and for the page itself."""
    name = target.partition("#")[0]
    if not name or "://" in target or target.startswith("mailto:"):
        return None
    path = (page.parent / name).resolve()
    return (path / "README.md" if path.is_dir() else path).relative_to(ROOT).as_posix()
