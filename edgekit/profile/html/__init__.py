"""One self-contained HTML file from a profile: no network, readable in light and dark, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.profile.compare import Comparison

_PACKAGES = ("altair", "jinja2", "vl_convert")


def write_html(profile: Mapping[str, Any], path: str | PathLike[str]) -> int:
    """Write the page of a profile, given as its JSON document, and return its size in bytes.

    The file is there whole or not at all, needs no other and asks the network for nothing; the same document gives the
    same bytes. UsageError without the packages of the extra `web`, ArtifactError or DataError when it cannot be
    written.
    """
    _check_packages()
    from edgekit.profile.html.page import write_page
    from edgekit.profile.html.report import profile_page

    return write_page(profile_page(profile), path)


def write_comparison_html(comparison: Comparison, path: str | PathLike[str]) -> int:
    """Write the page of a comparison, and return its size in bytes; errors and promises are those of `write_html`."""
    _check_packages()
    from edgekit.profile.html.page import write_page
    from edgekit.profile.html.side_by_side import comparison_page

    return write_page(comparison_page(comparison), path)


def check_html(path: str | PathLike[str]) -> None:
    """Raise now what `write_html` would raise in the end: before what the page is about takes its time."""
    _check_packages()
    from edgekit.profile.html.page import check_page

    check_page(path)


def _check_packages() -> None:
    """UsageError unless what draws the pages is installed."""
    for package in _PACKAGES:
        try:
            import_module(package)
        except ImportError as error:
            raise UsageError("HTML reports", f"need {error.name}", "pip install 'edgekit[web]'") from error
