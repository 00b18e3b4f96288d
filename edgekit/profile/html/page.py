"""The page: its parts, the template, and the script library in one text that asks the network for nothing."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from os import PathLike
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from edgekit._version import __version__
from edgekit.artifact.atomic import cannot_write, check_room, write_atomic
from edgekit.profile.grades import DERIVED, EMULATED, ESTIMATED, MEASURED, UNAVAILABLE
from edgekit.profile.html.parts import Gap, Section, Tile

GRADES = (MEASURED, EMULATED, DERIVED, ESTIMATED, UNAVAILABLE)


@dataclass(frozen=True)
class Page:
    """What stands above the sections, the sections, and what is not there; `warned` leads in the warnings."""

    kind: str
    title: str
    lead: str
    sections: tuple[Section, ...]
    tiles: tuple[Tile, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    gaps: tuple[Gap, ...] = ()
    warned: str = ""
    warnings: tuple[str, ...] = ()


def write_page(page: Page, path: str | PathLike[str]) -> int:
    """Write a page whole or not at all, and return its size in bytes; ArtifactError when it cannot be written."""
    check_room(Path(path))
    data = render(page).encode()
    write_atomic(Path(path), data)
    return len(data)


def check_page(path: str | PathLike[str]) -> None:
    """ArtifactError or DataError unless a file can be made there."""
    check_room(Path(path))
    try:
        with TemporaryFile(dir=Path(path).parent):
            pass
    except OSError as error:
        raise cannot_write(Path(path), error) from error


def render(page: Page) -> str:
    """The HTML of a page; the same text for the same page."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from edgekit.profile.html.charts import CONFIG

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["inert"] = lambda value: Markup(_inert(value))
    library, start = _library(), _part("page.js")
    return environment.from_string(_part("page.html.j2")).render(
        page=page,
        grades=GRADES,
        version=__version__,
        policy=_policy(library, start),
        style=Markup(_part("page.css")),
        library=Markup(library),
        start=Markup(start),
        config=CONFIG,
    )


def _part(name: str) -> str:
    return (files("edgekit.profile.html") / name).read_text(encoding="utf-8")


@cache
def _library() -> str:
    """Vega-Embed and what it needs as one script: its Vega-Lite is the newest that vl-convert brings."""
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_convert.get_vegalite_versions()[-1])
    # nothing in the script may end the element that holds it, whatever a later version brings
    return script.replace("</script", r"<\/script").replace("<!--", r"<\!--").replace("\r\n", "\n")


def _policy(*scripts: str) -> str:
    """The content security policy: these very scripts run and no others, and nothing is fetched from anywhere."""
    hashes = " ".join(f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def _inert(value: Mapping[str, Any]) -> str:
    """JSON that cannot end the element that holds it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), default=dict)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
