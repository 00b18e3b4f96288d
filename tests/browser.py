"""Headless Chromium for the pages that edgekit writes: what it logged, what it asked for, what it drew."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--disable-extensions", "--disable-default-apps", "--hide-scrollbars"),
)
LONGEST_WAIT = 60  # seconds: two slow cores draw in a few


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in `folder`; its absence fails under CI and skips elsewhere."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        reason = "no chromium or no chromedriver: apt-get install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()


class Browser:
    """A page at a time."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def open(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file in a window of this size, and wait until its charts are drawn."""
        self.visit(path.as_uri(), width=width, height=height, dark=dark)
        self.wait_for("document.documentElement.dataset.charts === 'drawn'")

    def visit(self, address: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open an address in a window of this size."""
        self._driver.get("about:blank")
        for log in ("browser", "performance"):  # what is told of pages before this one is taken and dropped
            self._driver.get_log(log)
        self.resize(width, height)
        media = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        self._driver.get(address)

    def reload(self) -> None:
        """Load the page again."""
        self._driver.refresh()

    @contextmanager
    def second_window(self) -> Iterator[None]:
        """Another window beside this one, which is looked at again afterwards."""
        first = self._driver.current_window_handle
        self._driver.switch_to.new_window("window")
        try:
            yield
        finally:
            self._driver.close()
            self._driver.switch_to.window(first)

    def press(self, keys: str, selector: str = "") -> None:
        """Press keys, where the focus is or on the first element that fits."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.by import By

        if selector:
            self._driver.find_element(By.CSS_SELECTOR, selector).send_keys(keys)
        else:
            ActionChains(self._driver).send_keys(keys).perform()

    def resize(self, width: int, height: int = 900) -> None:
        """Give the window another size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def wait_for(self, expression: str) -> Any:
        """The value of an expression in the page, as soon as it is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self._driver, LONGEST_WAIT, 0.05).until(lambda _: self.ask(expression))

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self._driver.execute_script(f"return {expression}")

    def move_to(self, selector: str) -> None:
        """Put the pointer on the first element that fits."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.by import By

        element = self._driver.find_element(By.CSS_SELECTOR, selector)
        self._driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self._driver).move_to_element(element).perform()

    def complaints(self) -> list[str]:
        """What the console said since the page was opened."""
        return [entry["message"] for entry in self._driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Every address that was asked for since the page was opened, itself the first."""
        messages = (json.loads(entry["message"])["message"] for entry in self._driver.get_log("performance"))
        sent = ("Network.requestWillBeSent", "Network.webSocketCreated")
        return [m["params"].get("url") or m["params"]["request"]["url"] for m in messages if m["method"] in sent]
