"""A headless browser that opens a report or the page of a service, shared by the tests of every page."""

import re
import shutil

import pytest
from selenium import webdriver

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needed = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.skipif(DRIVER is None, reason="chromedriver is not installed"),
]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FETCHED = """
return performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => !name.startsWith('data:'));
"""
# Width of each chart's box and of what is within it, which scrolls.
WIDTHS = "return Array.from(document.querySelectorAll('.chart'), (box) => [box.clientWidth, box.scrollWidth]);"
DRAWN = """
return Array.from(document.querySelectorAll('.chart svg'), (svg) => {
  const box = svg.getBBox();
  return svg.clientWidth > 50 && svg.clientHeight > 50 && box.width > 50 && box.height > 50;
});
"""


def started_driver(profile):
    """Start the browser with a profile of its own that keeps what is said on the console, and every request."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


def open_page(driver, page, *, width=1280, scheme="light", media=""):
    """Open a page afresh: a file, or an address."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    emulate(driver, scheme, media)
    driver.get(page if isinstance(page, str) else page.as_uri())
    return driver


def emulate(driver, scheme, media=""):
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [{"name": "prefers-color-scheme", "value": scheme}]})


def lightness(colour):
    """Return the mean of the channels of ``rgb(r, g, b)``."""
    channels = [int(part) for part in re.findall(r"\d+", colour)[:3]]
    return sum(channels) / 3


def of_body(driver):
    return lightness(driver.execute_script("return getComputedStyle(document.body).backgroundColor"))


def of_chart(driver):
    """Return how light a chart's ground is, and its letters."""
    fill = "return getComputedStyle(document.querySelector(arguments[0])).fill"
    return [lightness(driver.execute_script(fill, part)) for part in (".chart svg path", ".chart svg text")]
