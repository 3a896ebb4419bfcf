"""The app as a font maker uses it, in a browser alone: from the upload to the font."""

import json
import socket
from pathlib import Path

from fontTools.ttLib import TTFont

from tests.helpers.app import Page, app
from tests.helpers.browser import browser
from tests.helpers.exports import SOURCE, TARGET, some, without
from tests.helpers.faults import steps_of, wait_for
from utils.glyphs.render import GlyphRenderer

LACKING, DRAWN = some(TARGET, 24)[:4], some(TARGET, 24)[4:]


def test_from_the_upload_to_the_font(tmp_path):
    folder = tmp_path / "app"
    with app(folder) as address, browser(tmp_path) as window, browser(tmp_path / "other") as second:
        nothing_is_reachable_from_outside(address)
        page, other = Page(window, address), Page(second, address)
        page.open()
        a_project_is_made(page, folder)
        glyphs_are_uploaded(page, tmp_path)
        it_is_trained_stopped_and_gone_on_with(page, other, folder / "mine")
        characters_are_drawn_and_reviewed(page)
        the_font_is_made(page, folder)
        it_speaks_of_nothing_elsewhere(page)
    with TTFont(folder / "mine" / "fonts" / "mine.ttf") as font:
        assert {ord(c) for c in DRAWN + LACKING} - font.getBestCmap().keys() == {ord(LACKING[0])}, "all but the marked"


def nothing_is_reachable_from_outside(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing, but tells this computer's own address
        own = probe.getsockname()[0]
    if not own.startswith("127."):
        with socket.socket() as outside:
            outside.settimeout(2)
            assert outside.connect_ex((own, port)) != 0


def a_project_is_made(page: Page, folder: Path) -> None:
    page.fill("fresh", "../mine")
    page.click("make")
    page.said("letters, digits")
    page.fill("fresh", "mine")
    page.click("make")
    wait_for(lambda: page.value("#project") == "mine")
    assert [path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."] == ["mine"]


def glyphs_are_uploaded(page: Page, folder: Path) -> None:
    (folder / "bad.ttf").write_bytes(b"no font")
    page.upload("target-file", folder / "bad.ttf")
    page.click("take-target")
    page.said("can't be read")
    others = "".join(set(GlyphRenderer(TARGET).covered()) - set(DRAWN))
    for role, font in (("source", SOURCE), ("target", without(TARGET, others, folder / "MyFont.ttf"))):
        page.upload(f"{role}-file", Path(GlyphRenderer(str(font)).path))
        page.click(f"take-{role}")
        page.said("was taken")
    wait_for(lambda: f"{len(DRAWN)} / 5401" in page.text("#target-coverage"))


def it_is_trained_stopped_and_gone_on_with(page: Page, other: Page, root: Path) -> None:
    page.tab("training")
    page.unfold("more", "check")
    page.click("check")
    wait_for(lambda: "starting from the base" in page.value("#plan"))
    page.click("train")
    wait_for(lambda: "running" in page.text("#status"))
    page.open()  # anew
    assert "train.py, running" in page.text("#status")
    page.tab("training")
    page.click("train")
    page.said("a job is running")
    a_second_browser_sees_it_and_stops_it(other)
    page.ended("stopped", "train.py")
    assert page.value("#project") == "mine"
    (done,) = steps_of(root)
    page.unfold("more", "steps")
    page.fill("steps", str(done + 2))
    page.click("train")
    page.ended("done", "train.py")
    assert steps_of(root) == [done, done + 2]
    page.inside("report")
    wait_for(lambda: page.text("h1") == "Training: mine")
    page.outside()


def a_second_browser_sees_it_and_stops_it(other: Page) -> None:
    other.open()
    wait_for(lambda: other.value("#project") == "mine")
    wait_for(lambda: any(line.startswith("step ") for line in other.value("#log").splitlines()), 120)
    other.fill("fresh", "theirs")
    other.click("make")
    wait_for(lambda: other.value("#project") == "theirs")
    other.tab("training")
    other.click("train")
    other.said("a job is running")
    wait_for(lambda: "mine: train.py, running" in other.text("#status"))
    other.click("stop")
    other.ended("stopped", "train.py")


def characters_are_drawn_and_reviewed(page: Page) -> None:
    page.tab("drawing")
    page.fill("text", LACKING)
    page.click("draw")
    page.ended("done", "infer.py")
    page.tab("review")
    page.inside("review")
    page.browser.one("#search").send_keys(LACKING[0])
    page.browser.one(".card .leave_out").click()
    page.outside()


def the_font_is_made(page: Page, folder: Path) -> None:
    page.tab("font")
    page.click("reviewed")
    page.click("make-font")
    page.ended("done", "utils.font_export")
    wait_for(lambda: "fonts/mine.ttf" in page.text("#made"))
    marks = json.loads((folder / "mine" / "review.json").read_text(encoding="utf-8"))["marks"]
    assert marks == {f"U+{ord(LACKING[0]):04X}": "leave_out"}
    page.browser.one("#made a[href$='fonts/mine.ttf']").click()
    wait_for((page.browser.folder / "mine.ttf").is_file)


def it_speaks_of_nothing_elsewhere(page: Page) -> None:
    fetched = page.browser.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert len(fetched) > 20
    assert [name for name in fetched if not name.startswith((page.address, "data:", "blob:"))] == []
