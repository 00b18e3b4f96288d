"""The demo's page in a real browser: it runs, can be taught, and comes back; on a phone, by keys, in light and dark."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from browser import Browser, chromium
from demo_samples import CLASSES, RATE, Scripted

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from edgekit.demo.har.web.server import served

PHONE, DESK = 375, 1280
MODELS = ("mlp", "lmu", "l2mu", "elm")
LIVE = 'document.body.dataset.link === "live" && document.querySelector(".model .answer").textContent.length > 3'
LAST = "document.querySelector('#teach-about').textContent"
INK = """(c => { const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data; const seen = new Set();
  for (let i = 0; i < d.length; i += 4) if (d[i + 3]) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]); return seen.size;
  })(document.querySelector("#chart"))"""
WIDE = """[...document.querySelectorAll("body *")].filter(e => !e.closest(".hidden, .scroll > *") && !e.closest("svg")
  && e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.tagName + "#" + e.id + "." + e.className)"""
SMALL = """[...document.querySelectorAll("button, select, input:not([type=radio]), #who label")]
  .filter(e => e.offsetParent && e.getBoundingClientRect().height < 30).map(e => e.textContent)"""
CONTRASTS = """((names, grounds) => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const style = getComputedStyle(document.documentElement);
  const light = name => { canvas.fillStyle = style.getPropertyValue(name); canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255).map(
      v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  return Object.fromEntries(names.flatMap(name => grounds.map(ground => { const [a, b] = [light(name), light(ground)];
    return [name + " on " + ground, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]; })));
  })(%s, ["--card", "--paper"])"""
WORDS = ["--ink", "--soft", "--accent", "--good", "--bad", "--measured", "--emulated", "--derived", "--estimated"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="module")
def script() -> Iterator[str]:
    """The address of a page whose frames are written down."""
    with served(Scripted(), speed=4.0) as url:
        yield url


def is_quiet(browser: Browser, url: str) -> None:
    """The page said nothing on the console, and asked nobody but its own server."""
    assert browser.complaints() == []
    assert {address.startswith(url) for address in browser.requests()} == {True}


def texts(browser: Browser, selector: str) -> list[str]:
    return browser.ask(f'[...document.querySelectorAll("{selector}")].map(e => e.textContent)')


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """The address of the page of the real engine, on made-up motion, eight times as fast as life."""
    from edgekit.demo.har.opened import Asked, open_engine

    with open_engine(Asked()) as engine, served(engine, speed=8.0) as url:
        yield url


@pytest.mark.slow
def test_four_models_side_by_side_answer_and_their_costs_have_grades(browser, demo):
    browser.visit(demo)
    browser.wait_for(LIVE)
    browser.wait_for(
        '[...document.querySelectorAll(".model dd")].filter(e => /of [1-9]/.test(e.textContent)).length === 4'
    )
    assert [text.lower() for text in texts(browser, ".model h3")] == list(MODELS)
    names = texts(browser, ".model:first-child .classes li > :first-child, #models .model .classes li > :first-child")
    assert {"bounce", "scribble"} <= set(names)
    before = texts(browser, ".model dl")
    browser.wait_for(f'[...document.querySelectorAll(".model dl")].every((e, i) => e.textContent !== {before}[i])')
    for card in texts(browser, ".model"):
        assert "measured" in card
        assert "derived" in card  # flash
        assert "emulated" in card  # instructions
        assert "µJ" in card
        assert "estimated" in card
    populations = texts(browser, "#rates li > :first-child")
    assert populations == ["m", "h", "output"]
    assert any(not text.startswith("0 ") for text in texts(browser, "#rates li > :last-child"))
    assert browser.ask(INK) > 30
    assert "acc x" in browser.ask('document.querySelector("#chart").getAttribute("aria-label")')
    assert "say nothing about real activities" in browser.ask('document.querySelector("#facts").textContent')
    shown = texts(browser, "#watch-text")[0]
    assert shown.startswith("L2MU: ")
    assert shown.endswith(" % sure")
    is_quiet(browser, demo)


@pytest.mark.slow
def test_a_gesture_is_taught_recognised_and_forgotten_and_another_page_sees_it(browser, demo):
    browser.visit(demo)
    browser.wait_for(LIVE)
    browser.press("wave", "#activity")  # as one types into a list of choices
    browser.wait_for('document.querySelector("#truth").textContent.includes("wave")')
    assert browser.ask('document.querySelector("#name").value') == "wave"  # it knows what would be a good name
    browser.press("\n", "#name")
    browser.wait_for('document.querySelector("#record").textContent === "Learn now"')
    assert browser.ask('document.querySelector("#undo").offsetParent') is None  # nothing to undo yet
    browser.wait_for('document.querySelector("#result strong")?.textContent === "wave"')
    kept = [float(text.removesuffix(" %")) for text in texts(browser, "#result .keep > :nth-child(3n)")]
    assert kept[1] > kept[0] - 5 > 50  # old activities stay
    assert "held out measured" in browser.ask('document.querySelector("#result").textContent')
    browser.wait_for('document.querySelector("#watch-text").textContent.startsWith("Learner: wave")')
    browser.wait_for('document.querySelector("#truth").textContent.endsWith("last window: ✓ right")')
    with browser.second_window():
        browser.visit(demo, width=PHONE)
        browser.wait_for('document.querySelector("#taught li")?.textContent === "wave"')
        browser.press("5")
        browser.wait_for('document.querySelector("#watch-text").textContent.startsWith("Learner: wave")')
        browser.press("u")
        browser.wait_for(f'{LAST} === "the last lesson was taken back"')
    browser.wait_for('document.querySelectorAll("#taught li").length === 0')
    browser.wait_for('!document.querySelector("#watch-text").textContent.includes("wave")')
    is_quiet(browser, demo)


def test_a_page_that_is_loaded_again_goes_on_where_it_was(browser, script):
    browser.visit(script)
    browser.wait_for(LIVE)
    right = '[...document.querySelectorAll(".model dd")][0].textContent'
    browser.wait_for(f"/^[2-9]/.test({right})")
    before = int(browser.ask(right).split()[0])
    browser.reload()
    browser.wait_for(LIVE)
    assert int(browser.ask(right).split()[0]) >= before
    assert browser.ask(right).endswith(" %) measured")
    assert browser.ask('document.querySelector("#confusion caption").textContent').endswith(" measured")
    assert browser.ask('document.querySelector("#confusion td:nth-of-type(2)") !== null')
    assert browser.ask(INK) > 10  # what was before is on the chart at once
    assert texts(browser, "#rates li") == ["hidden12.5 % of 8 fire"]  # one of eight in each step
    is_quiet(browser, script)


def test_a_lesson_in_what_it_knew_can_be_taken_back_too(browser):
    undo = 'document.querySelector("#undo")'
    with served(Scripted(), speed=4.0) as url:
        browser.visit(url)
        browser.wait_for(LIVE)
        for _ in range(2):
            browser.press("x\n", "#name")
            browser.wait_for('document.querySelector("#record").textContent === "Learn now"')
            browser.press("\n", "#record")
            browser.wait_for(f"{undo}.offsetParent && !{undo}.disabled")
        browser.ask("document.activeElement.blur()")
        browser.press("u")
        browser.press("u")
        browser.wait_for(f"!{undo}.offsetParent")


class Silent(Scripted):
    """A sensor that has not sent anything yet."""

    live = True

    def frames(self):
        return iter(lambda: time.sleep(0.01), 0)


def test_a_silent_sensor_is_waited_for_in_words_and_what_is_asked_meanwhile_is_answered(browser):
    with served(Silent(), speed=None) as url:
        browser.visit(url)
        browser.wait_for('document.querySelector("#link").textContent === "waiting for samples"')
        browser.wait_for('document.querySelector("#stream-note").textContent === "waiting for samples from a script"')
        browser.press(f"{CLASSES[0]}\n", "#name")
        browser.wait_for(f"{LAST} === \"gesture 'sitting': is there; give another\"")
        browser.ask('document.querySelector("#name").value = ""')
        browser.press("x\n", "#name")
        browser.wait_for(f'{LAST} === "Recording x: waiting for samples."')
        browser.reload()
        browser.wait_for('document.querySelector("#progress").ariaValueMax === "10"')
        browser.press("\n", "#record")
        browser.wait_for('document.querySelector("#undo").offsetParent')


class Wild(Scripted):
    """A sensor whose clock leaps and whose values are none."""

    def _frame(self, at):
        values = (float("inf"), -1e308, 3e38, float("nan"))
        t = at / RATE if at < 30 else 1.7e18 + at / RATE
        return replace(super()._frame(at), t=t, sample=(values[at % 4], values[(at + 1) % 4]))


def test_values_and_times_that_are_none_are_drawn_as_far_as_they_can_be(browser):
    with served(Wild(), speed=4.0) as url:
        browser.visit(url)
        browser.wait_for("Number(document.documentElement.dataset.second) > 1e18")
        right = texts(browser, "#models dd")[0]
        browser.wait_for(f'[...document.querySelectorAll("#models dd")][0].textContent !== {right!r}')
        assert browser.ask("document.body.dataset.link") == "live"
        browser.press(" ")
        assert browser.ask('document.querySelector("#hold").getAttribute("aria-pressed")') == "true"
        is_quiet(browser, url)


def test_a_server_that_is_started_again_is_found_and_the_page_says_so(browser):
    with served(Scripted(), speed=4.0) as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        browser.visit(url)
        browser.wait_for(LIVE)
    browser.wait_for('document.body.dataset.link === "lost"')
    assert "trying again" in browser.ask('document.querySelector("#link").textContent')
    assert browser.ask('document.querySelector("#record").disabled')
    with served(Scripted(), port=port, speed=4.0):
        browser.wait_for(LIVE)
        assert "started again" in browser.ask('document.querySelector("#banner:not([hidden])")?.textContent')
        assert not browser.ask('document.querySelector("#record").disabled')
        browser.press("x\n", "#name")  # with the token of the new launch
        browser.wait_for('document.querySelector("#record").textContent === "Learn now"')


def test_the_end_of_a_source_is_said_and_stays(browser):
    with served(Scripted(60), speed=None) as url:
        browser.visit(url)
        browser.wait_for('document.querySelector("#link").textContent === "The stream has ended."')
        browser.wait_for('document.querySelector(".model .answer").textContent.startsWith("sitting")')
        assert browser.ask("document.documentElement.dataset.launches") == "1"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_all_of_it_is_there_on_a_phone_and_a_desk_in_light_and_dark(browser, script, width, dark):
    browser.visit(script, width=width, dark=dark)
    browser.wait_for(LIVE)
    assert browser.ask("document.documentElement.scrollWidth") == width
    assert browser.ask(WIDE) == []
    assert browser.ask(SMALL) == []
    contrasts = browser.ask(CONTRASTS % WORDS)
    assert min(contrasts.values()) >= 4.5, contrasts
    series = browser.ask(CONTRASTS % ["--series-1", "--series-2", "--series-3"])
    assert min(series.values()) >= 3, series
    assert (browser.ask(CONTRASTS % ["--ink"])["--ink on --card"]) > 12
    is_quiet(browser, script)


def test_everything_can_be_reached_and_done_by_keys(browser, script):
    browser.visit(script)
    browser.wait_for(LIVE)
    reached = []
    for _ in range(14):
        browser.press("\ue004")  # tab
        reached.append(browser.ask("document.activeElement.id || document.activeElement.value"))
    for wanted in ("hold", "l2mu", "activity", "name", "seconds", "record"):
        assert wanted in reached
    browser.ask("document.activeElement.blur()")
    browser.press(" ")
    assert browser.ask('document.querySelector("#hold").getAttribute("aria-pressed")') == "true"
    browser.press(" ")
    browser.press("t")
    assert browser.ask("document.activeElement.id") == "name"
    browser.press("1 t u", "#name")  # keys are letters there
    assert browser.ask("document.activeElement.value") == "1 t u"


def test_a_name_that_would_run_is_shown_as_it_is(browser):
    name = "<img src=x onerror=alert()>"
    with served(Scripted(), speed=4.0) as url:
        browser.visit(url)
        browser.wait_for(LIVE)
        browser.press(f"{name}\n", "#name")
        browser.wait_for(f'document.querySelector("#teach-about").textContent.includes({name!r})')
        assert browser.ask('document.querySelectorAll("main img, main script").length') == 0
        is_quiet(browser, url)
