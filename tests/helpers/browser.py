"""Chromium without a window, driven as a user would; tests that need it are skipped where it is not installed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
LEFT, RIGHT, END, ESCAPE = "\ue012", "\ue014", "\ue010", "\ue00c"  # keys, as WebDriver has them


class Browser:
    """A page, and what is done with it."""

    def __init__(self, driver: Any, folder: Path):
        self.driver, self.folder = driver, folder  # where downloads go

    def open(self, page: Path, size: tuple[int, int] = (1280, 900), language: str = "en", dark: bool = False) -> None:
        """Open a file in a window of this size, as a reader of a language sees it; marks of earlier ones are gone."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.read_in(language)
        self.driver.get(page.as_uri())
        self.run("localStorage.clear(); sessionStorage.clear()")
        self.driver.refresh()

    def read_in(self, language: str) -> None:
        """Be the browser of a reader of this language, from the next page on."""
        agent = self.driver.execute_script("return navigator.userAgent")
        self.driver.execute_cdp_cmd("Emulation.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": language})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[Any]:
        """The elements that a CSS selector finds."""
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        """The first of these."""
        return self.driver.find_element("css selector", selector)

    def choose(self, selector: str, text: str) -> None:
        """Choose from a list."""
        from selenium.webdriver.support.select import Select

        Select(self.one(selector)).select_by_visible_text(text)

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def complaints(self) -> list[str]:
        """What the console has said since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser whose downloads go to `folder`."""
    webdriver = pytest.importorskip("selenium.webdriver")
    places = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in places:
        pytest.skip("Chromium and its driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = places[0]
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(places[1]))
    try:
        yield Browser(driver, folder)
    finally:
        driver.quit()
