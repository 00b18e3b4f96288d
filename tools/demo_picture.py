"""Photographs the page of `edgekit demo har --web`: docs/images/demo.png, three minutes into recordings of people.

python -m tools.demo_picture [-o FILE] [--source wisdm] [--after 185] [--dark]    # a minute; wants chromium, ../shared
"""

from __future__ import annotations

import argparse
import base64
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "images" / "demo.png"
WIDTH, HEIGHT, SHARP = 1280, 1200, 1.25
SPEED = "8"  # times real time: what was right so far is of ninety windows
CLIP = """(m => Math.ceil(m.getBoundingClientRect().bottom + scrollY) + 14)(document.querySelector("#models"))"""
SECONDS = "Number(document.documentElement.dataset.second)"


def main() -> int:
    """Start the demo, look at it for a while, photograph it; 2 where chromium is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    parser.add_argument("--source", default="wisdm", help="as in edgekit demo har")
    parser.add_argument("--after", type=float, default=185, help="second of the stream")
    parser.add_argument("--dark", action="store_true")
    asked = parser.parse_args()
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        print("error: chromium: is not installed; apt-get install chromium chromium-driver", file=sys.stderr)
        return 2
    edgekit = str(Path(sys.executable).with_name("edgekit"))
    command = (
        edgekit,
        "demo",
        "har",
        "--web",
        "--no-browser",
        "--port",
        "0",
        "--source",
        asked.source,
        "--speed",
        SPEED,
    )
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            address = next((word for line in demo.stdout for word in line.split() if word.startswith("http://")), None)
            if address is None:
                return demo.wait()
            asked.output.write_bytes(photograph(address, asked.after, dark=asked.dark))
        finally:
            demo.terminate()
    return 0


def photograph(address: str, after: float, *, dark: bool) -> bytes:
    """A PNG of the page, down to the end of its models, once the stream is so many seconds old."""
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    with tempfile.TemporaryDirectory() as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}")
        for flag in flags:
            options.add_argument(flag)
        browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": SHARP, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            media = {
                "prefers-color-scheme": "dark" if dark else "light",
                "prefers-reduced-motion": "reduce",
            }  # no bar midway
            features = [{"name": name, "value": value} for name, value in media.items()]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            browser.get(address)
            WebDriverWait(browser, after + 60, 0.05).until(
                lambda _: browser.execute_script(f"return {SECONDS} >= {after}")
            )
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": browser.execute_script(f"return {CLIP}"), "scale": 1}
            found = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})
            return base64.b64decode(found["data"])
        finally:
            browser.quit()


if __name__ == "__main__":
    raise SystemExit(main())
