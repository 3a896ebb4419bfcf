"""The app as a user has it: a server in a process of its own, and its page in a browser."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers.browser import Browser
from tests.helpers.faults import wait_for
from tests.helpers.ranks import ROOT

TABS = {"glyphs": 0, "training": 1, "drawing": 2, "review": 3, "font": 4}


@contextmanager
def app(folder: Path, *flags: str) -> Iterator[str]:
    """The address of an app whose projects are in `folder`."""
    command = [sys.executable, "-m", "utils.app", "--app_dir", str(folder), "--port", "0", "--no-browser", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"(http://127\.0\.0\.1:\d+)", line)
        assert found, line
        yield found[1]
    finally:
        process.terminate()
        process.wait()


class Page:
    """The page of an app."""

    def __init__(self, browser: Browser, address: str):
        self.browser, self.driver, self.address = browser, browser.driver, address

    def open(self) -> None:
        """Open it, or anew, and wait until it has settled."""
        self.driver.switch_to.default_content()
        self.driver.get(self.address)
        wait_for(lambda: self.browser.all("#log textarea") and self.text("#status .status"))

    def text(self, selector: str) -> str:
        """What an element shows, in one look, since the page may put a new one in its place."""
        return self.browser.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def value(self, selector: str) -> str:
        """What is typed into an element."""
        field = f"{selector} textarea, {selector} input"
        return self.browser.run("return document.querySelector(arguments[0])?.value ?? ''", field)

    def click(self, name: str) -> None:
        """Click a button, or the box of one."""
        element = self.browser.one(f"#{name}")
        inside = element.find_elements("css selector", "input[type=checkbox]")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        (inside[0] if inside else element).click()

    def tab(self, name: str) -> None:
        """Go to a tab."""
        self.browser.all("button[role=tab]")[TABS[name]].click()

    def unfold(self, name: str, inside: str) -> None:
        """Open what is folded up, until something inside is seen."""
        self.browser.one(f"#{name} button").click()
        seen = "return document.querySelector(arguments[0])?.checkVisibility() ?? false"
        wait_for(lambda: self.browser.run(seen, f"#{inside}"))

    def fill(self, name: str, text: str) -> None:
        """Type into a field."""
        field = self.browser.one(f"#{name} textarea, #{name} input")
        field.clear()
        field.send_keys(text)

    def upload(self, name: str, *files: Path) -> None:
        """Choose files, and wait until they have been uploaded."""
        for old in self.browser.all(f"#{name} button[aria-label=Clear], #{name} .label-clear-button"):
            old.click()
        wait_for(lambda: self.browser.all(f"#{name} input[type=file]"))
        self.browser.one(f"#{name} input[type=file]").send_keys("\n".join(map(str, files)))
        wait_for(lambda: self.browser.all(f"#{name} .file-preview"))

    def said(self, words: str) -> None:
        """Wait for a note or an error that holds some words, and put it away."""
        wait_for(lambda: words in self.text(".toast-wrap"))
        for button in self.browser.all(".toast-wrap button.toast-close"):
            self.driver.execute_script("arguments[0].click()", button)

    def ended(self, words: str, script: str) -> None:
        """Wait until the job has ended, and how."""
        wait_for(lambda: f"{script}, {words}" in self.text("#status"), 240)

    def inside(self, tab: str) -> Any:
        """Step into the page within a tab."""
        self.driver.switch_to.default_content()
        wait_for(lambda: self.browser.all(f"#{tab} iframe"))
        self.driver.switch_to.frame(self.browser.one(f"#{tab} iframe"))

    def outside(self) -> None:
        """Step out of it."""
        self.driver.switch_to.default_content()
