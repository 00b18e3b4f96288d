"""Reports in a real browser: every chart is drawn, nothing is fetched, names are inert, and all of it can be read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, chromium
from converted import ROOT, artifact
from profile_samples import HOSTILE, hostile, sample

from edgekit.errors import ArtifactError, DataError, UsageError
from edgekit.profile.compare import compare_profiles
from edgekit.profile.html import write_comparison_html, write_html

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

PHONE, DESK = 375, 1280
MOST_BYTES = 1_300_000  # the script that draws is 0.9 MB of it
CHARTS = {
    *("latency-histogram", "latency-cdf", "paced-histogram", "paced-ranges", "ops-time", "ops-instructions"),
    *("instructions-steps", "memory-map", "energy-trace", "spikes-raster", "spikes-rates", "error-steps"),
}
DRAWN = """Object.fromEntries([...document.querySelectorAll("figure")].map(f => [f.id,
  f.querySelectorAll("svg [class*=mark-] > path, svg [class*=mark-] > line, svg [class*=mark-] > text").length]))"""
TITLES = """Object.fromEntries([...document.querySelectorAll("figure")].map(f => [f.id,
  [...f.querySelectorAll("svg .role-axis-title text")].map(t => t.textContent)]))"""
WIDE = """[...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll > *") && !e.closest("svg")
  && e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.tagName + "." + e.className)"""
COLORS = """Object.fromEntries([...document.styleSheets[0].cssRules[0].style].map(
  name => [name, getComputedStyle(document.documentElement).getPropertyValue(name).trim()]))"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The page of a profile with everything in it."""
    path = tmp_path_factory.mktemp("pages") / "sample.html"
    write_html(sample(), path)
    return path


def is_quiet(browser: Browser, path: Path) -> None:
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_chart_is_drawn_with_its_title_units_caption_and_grade_and_nothing_is_fetched(browser, page, dark):
    browser.open(page, dark=dark)
    drawn = browser.ask(DRAWN)
    assert set(drawn) == CHARTS
    assert all(marks >= 4 for marks in drawn.values()), drawn
    is_quiet(browser, page)
    titles = browser.ask(TITLES)
    assert all(1 <= len(found) <= 2 and all(found) for found in titles.values()), titles
    assert {"µs per step", "% of readings"} == set(titles["latency-histogram"])
    assert {"op of the step", "bytes from the start"} == set(titles["memory-map"])
    assert {"s", "W"} == set(titles["energy-trace"])
    for part in ("h3", "h3 .badge", "figcaption"):
        texts = browser.ask(f'[...document.querySelectorAll("figure {part}")].map(e => e.textContent)')
        assert len(texts) == len(CHARTS)
        assert all(texts)
    assert browser.ask('document.querySelectorAll("svg[aria-label], svg [aria-label]").length') >= len(CHARTS)


def test_each_timing_has_a_colour_and_a_name_of_its_own(browser, tmp_path):
    document, path = sample(), tmp_path / "alike.html"
    document["timings"][2]["name"] = document["timings"][0]["name"]
    write_html(document, path)
    browser.open(path)
    keys = browser.ask('[...document.querySelectorAll("#latency-cdf .keys li")].map(e => e.textContent)')
    assert keys == ["one step a call", "many steps a call", "one step a call (2)"]
    lines = browser.ask(
        '[...document.querySelectorAll("#latency-cdf .mark-line path")].map(e => getComputedStyle(e).stroke)'
    )
    assert len(lines) == len(set(lines)) == 3


def test_a_phone_and_a_desk_show_all_of_it_without_scrolling_to_the_side(browser, page):
    for width in (PHONE, DESK):
        browser.open(page, width=width)
        assert browser.ask("document.documentElement.scrollWidth") == width
        assert browser.ask(WIDE) == []
        widths = browser.ask('[...document.querySelectorAll(".chart svg")].map(e => e.getBoundingClientRect().width)')
        assert min(widths) > 0.75 * (PHONE if width == PHONE else DESK / 3)
        is_quiet(browser, page)


def test_a_chart_follows_the_width_of_its_window(browser, page):
    browser.open(page, width=900)
    before = browser.ask('document.querySelector("#memory-map svg").getBoundingClientRect().width')
    browser.resize(500)
    after = browser.wait_for(
        f'(w => w < {before} && w)(document.querySelector("#memory-map svg").getBoundingClientRect().width)'
    )
    assert after < 500


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_grades_and_marks_stand_out_in_light_and_in_dark(browser, page, dark):
    browser.open(page, dark=dark)
    colors = {name.removeprefix("--"): value for name, value in browser.ask(COLORS).items()}
    assert (luminance(colors["paper"]) < 0.1) == dark
    for name, color in colors.items():
        for ground in ("paper", "card"):
            if name in ("ink", "soft", "accent", "measured", "emulated", "derived", "estimated", "unavailable"):
                assert contrast(color, colors[ground]) >= 4.5, (name, ground)
            if name.startswith("series"):
                assert contrast(color, colors[ground]) >= 2.8, (name, ground)
    # the charts use these very colours, without being drawn again
    bar = browser.ask('getComputedStyle(document.querySelector("#ops-time .mark-rect path")).fill')
    red, green, blue = (int(colors["series-1"][at : at + 2], 16) for at in (1, 3, 5))
    assert bar == f"rgb({red}, {green}, {blue})"


def test_names_that_would_run_are_shown_as_they_are(browser, page, tmp_path):
    path = tmp_path / "hostile.html"
    write_html(hostile(), path)
    browser.open(page)
    scripts = browser.ask("document.scripts.length")
    browser.open(path, width=PHONE)
    assert browser.ask("document.title") != "hit"
    assert browser.ask("document.scripts.length") == scripts
    assert browser.ask('document.querySelectorAll("img, a:not([href^=\\"#\\"]), iframe, object").length') == 0
    assert browser.ask("document.body.textContent").count(HOSTILE) > 50
    assert {figure: marks >= 4 for figure, marks in browser.ask(DRAWN).items()} == dict.fromkeys(CHARTS, True)
    assert browser.ask("document.documentElement.scrollWidth") == PHONE
    browser.move_to("#memory-map .mark-rect path")
    tip = browser.wait_for('document.querySelector("#vg-tooltip-element.visible")?.textContent')
    assert HOSTILE in tip
    assert browser.ask('document.querySelectorAll("#vg-tooltip-element img, #vg-tooltip-element script").length') == 0
    assert browser.ask("document.title") != "hit"
    is_quiet(browser, path)


def test_the_profile_of_a_converted_model_has_its_charts_and_says_what_it_has_not(browser, tmp_path):
    pytest.importorskip("unicorn")
    from edgekit.profile.report import profile_emulated

    path = tmp_path / "report.html"
    found = profile_emulated(artifact("l2mu", target="raspberrypi4")).to_dict()
    size = write_html(found, path)
    assert path.stat().st_size == size < MOST_BYTES
    browser.open(path)
    drawn = browser.ask(DRAWN)
    assert {"ops-instructions", "instructions-steps"} <= set(drawn)
    assert all(marks >= 4 for marks in drawn.values()), drawn
    gaps = browser.ask('document.querySelector("#gaps").textContent')
    for title in ("Latency", "Paced", "Energy", "Error", "Conditions"):
        assert title in gaps
    assert f"{found['memory']['flash'] / 1000:.3g} kB"[:4] in browser.ask("document.body.textContent")
    is_quiet(browser, path)


def test_a_comparison_is_drawn_and_says_what_differed(browser, tmp_path):
    a, b = sample(), sample(1)
    b["host"]["processor"], b["memory"]["flash"] = f"other {HOSTILE}", 15_000
    path = tmp_path / "comparison.html"
    write_comparison_html(compare_profiles(a, b, ("before.json", f"{HOSTILE}.json")), path)
    for width in (PHONE, DESK):
        browser.open(path, width=width, dark=width == PHONE)
        assert {name for name, marks in browser.ask(DRAWN).items() if marks >= 4} == {
            *("ratios", "latency-histogram", "latency-cdf")
        }
        assert browser.ask("document.documentElement.scrollWidth") == width
        assert "host: processor: Cortex-A72 in a" in browser.ask('document.querySelector(".warning").textContent')
        assert browser.ask("document.title") != "hit"
        is_quiet(browser, path)


def test_an_empty_profile_is_a_page_of_gaps(browser, tmp_path):
    path = tmp_path / "empty.html"
    kept = ("artifact", "target", "precision", "engine", "stimulus", "steps", "available")
    write_html({name: sample()[name] for name in kept}, path)
    browser.open(path)
    assert browser.ask('document.querySelectorAll("figure, section:not(#gaps)").length') == 0
    assert browser.ask('document.querySelectorAll("#gaps dt").length') == 11
    is_quiet(browser, path)


def test_the_same_profile_gives_the_same_bytes_in_another_process_too(page, tmp_path):
    again = tmp_path / "again.html"
    assert write_html(sample(), again) == again.stat().st_size < MOST_BYTES
    assert again.read_bytes() == page.read_bytes()
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from profile_samples import sample
from edgekit.profile.html import write_html
write_html(sample(), {str(again)!r})
"""
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment)
    assert again.read_bytes() == page.read_bytes()


def test_the_file_names_no_other_and_its_policy_allows_none(page):
    text = page.read_text()
    assert not re.search(r"<(?:link|img|iframe)\b|<script[^>]*\bsrc=|@import|url\(", text.split("<body>")[0])
    assert re.search(r'content="default-src &#39;none&#39;; script-src (&#39;sha256-[\w+/=]+&#39; ?){2}; ', text)
    assert str(ROOT) not in text


def specification(path: Path, figure: str) -> dict:
    found = re.search(
        rf'<figure id="{figure}">.*?<script type="application/json">(.*?)</script>', path.read_text(), re.S
    )
    return json.loads(found[1])


def test_long_recordings_are_thinned_without_losing_a_peak(tmp_path):
    document = sample()
    document["energy"]["samples"] = {"t": [at / 1000 for at in range(50_000)], "watts": [1.0] * 50_000}
    document["energy"]["samples"]["watts"][31_234] = 9.0
    document["activity"]["spikes"] = [[step, 2, neuron] for step in range(400) for neuron in range(50)]
    write_html(document, tmp_path / "long.html")
    assert (tmp_path / "long.html").stat().st_size < 2_000_000
    (points,) = (v for v in specification(tmp_path / "long.html", "energy-trace")["datasets"].values() if len(v) > 9)
    assert len(points) < 1300
    assert max(point["watts"] for point in points) == 9.0
    assert "The first 100 steps, 5,000 of 20,000 spikes" in (tmp_path / "long.html").read_text()


def test_what_is_not_finite_and_what_is_all_alike_is_drawn_as_far_as_it_goes(browser, tmp_path):
    document, path = sample(), tmp_path / "odd.html"
    document["error"]["rms"][3] = float("nan")
    document["energy"]["samples"]["watts"][5] = float("inf")
    document["estimates"][0]["value"] = float("nan")
    timing = document["timings"][0]
    timing["spread_us"] |= dict.fromkeys(("min", "p50", "p90", "p95", "p99", "max", "mean"), 2.0)
    timing["histogram"] = {"edges_us": [2.0, 2.0], "counts": [500]}
    document["timings"] = [timing]
    document["paced"]["late"]["min"] = 0.0
    write_html(document, path)
    browser.open(path)
    assert set(browser.ask(DRAWN)) == CHARTS
    assert "NaN" not in browser.ask("document.body.innerText")
    is_quiet(browser, path)


def test_a_sensor_that_may_not_be_believed_and_an_exported_file_have_their_pages(browser, tmp_path):
    document, path = sample(), tmp_path / "faulty.html"
    figures = [key for key in document["energy"] if "joules" in key or "ci95" in key or key.endswith("watts")]
    document["energy"] |= {"grade": "unavailable", "verdict": "faulty", "faults": ["stuck at 3 W"], "notes": []}
    document["energy"] |= {"samples": {"t": [], "watts": []}} | dict.fromkeys(figures)
    document |= {"memory": None, "places": None, "counts": None, "file_bytes": 12_345}
    write_html(document, path)
    browser.open(path)
    energy = browser.ask('document.querySelector("#energy").textContent')
    assert "Fault: stuck at 3 W" in energy
    assert "faulty" in energy
    assert browser.ask('document.querySelector("#energy-trace")') is None
    assert "12,345" in browser.ask('document.querySelector("#memory").textContent')
    assert "Energy per step" not in browser.ask('document.querySelector(".tiles").textContent')
    is_quiet(browser, path)


def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="folder does not exist"):
        write_html(sample(), tmp_path / "none" / "report.html")
    with pytest.raises(ArtifactError, match="no regular file"):
        write_html(sample(), tmp_path)
    monkeypatch.setitem(sys.modules, "altair", None)  # as if it were not installed
    with pytest.raises(UsageError, match=r"need altair; pip install 'edgekit\[web\]'"):
        write_html(sample(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
