"""The pages in a browser, as a font maker uses them: one run for each."""

import json
import shutil
import time
from pathlib import Path

from tests.helpers.browser import END, ESCAPE, LEFT, RIGHT, Browser, browser
from tests.helpers.faults import wait_for
from tests.helpers.reviews import big5, reviewable
from tests.helpers.scripts import FEW
from utils import review
from utils.experiment.config import Paths
from utils.training.live import read_tables, write_live

DRAWN = "十九八七六五四三二一"  # as they are shown: the worst first
HOSTILE = "</script><script>document.title = 'stolen'</script><img src=x onerror=\"document.title = 'stolen'\">"


def shown(page: Browser) -> str:
    """The characters of the cards that are there."""
    return page.run("return [...document.querySelectorAll('.card b')].map(node => node.textContent).join('')")


def counts(page: Browser) -> str:
    return page.one("#counts").text


def test_the_review_page(tmp_path):
    root = reviewable(tmp_path / "run1", DRAWN[::-1], str(FEW), 96)
    assert review.main(["--experiment_dir", str(root)]) == 0
    file = root / "infer" / "review.html"
    with browser(tmp_path) as page:
        marks_are_made_kept_and_saved(page, file)
        drawings_are_chosen(page, file)
        a_line_is_set(page, file)
        it_fits_a_phone_and_speaks_the_readers_language(page, file)
        no_script_of_a_stranger_runs(page, tmp_path)
        thousands_of_drawings_scroll(page, tmp_path)


def marks_are_made_kept_and_saved(page: Browser, file: Path) -> None:
    page.open(file)
    assert shown(page) == DRAWN
    page.one(".card").click()
    page.press("r", RIGHT, "x", RIGHT, "g")
    page.all(".card .redraw")[3].click()
    assert "1 good · 2 redraw · 1 leave out · 6 unmarked" in counts(page)
    page.press("n")
    assert page.driver.switch_to.active_element.find_element("tag name", "b").text == DRAWN[4]
    page.press("s")
    saved = page.folder / "review.json"
    wait_for(saved.is_file)
    names = [f"U+{ord(character):04X}" for character in DRAWN[:4]]
    expected = dict(zip(names, ("redraw", "leave_out", "good", "redraw"), strict=True))
    assert json.loads(saved.read_text(encoding="utf-8"))["marks"] == expected

    page.driver.refresh()
    assert "1 good · 2 redraw · 1 leave out" in counts(page)
    page.one(".card").click()
    page.press("u")
    assert "1 redraw" in counts(page)
    page.one("#open").send_keys(str(saved))
    wait_for(lambda: "4 marks taken over" in counts(page))
    for content, words in (
        ("{", "This is no review.json"),
        (saved.read_text(encoding="utf-8").replace('"experiment": "', '"experiment": "0'), "of another experiment"),
    ):
        (page.folder / "none.json").write_text(content, encoding="utf-8")
        page.one("#open").send_keys(str(page.folder / "none.json"))
        wait_for(lambda words=words: words in counts(page))
    assert not page.complaints()


def drawings_are_chosen(page: Browser, file: Path) -> None:
    page.open(file)
    page.one("#search").send_keys("三 U+4E94")
    assert shown(page) == "五三"
    page.one("#search").send_keys(ESCAPE)  # to the drawings, and the text stays
    page.press("g")
    assert shown(page) == "五三"
    page.one("#search").clear()
    page.choose("#mark", "unmarked")
    assert shown(page) == DRAWN.replace("三", ""), "the one that was found first"
    page.choose("#mark", "all")
    page.choose("#order", "by code point")
    assert shown(page) == "".join(sorted(DRAWN))
    page.choose("#reason", "specks")
    assert shown(page) == "" and "No drawing is like this." in page.one("#glyphs").text
    page.choose("#reason", "grey edges")
    page.choose("#charset", "latin")
    assert shown(page) == ""
    assert not page.complaints()


def a_line_is_set(page: Browser, file: Path) -> None:
    page.open(file)
    page.one("#setting summary").click()
    page.one("#words").clear()
    page.one("#words").send_keys("五的犬")
    kinds = page.run("return [...document.querySelector('#lines p').children].map(node => node.className)")
    assert kinds == ["glyph generated", "glyph", "glyph lacking"]
    assert page.run("return [...document.querySelectorAll('#lines p')].map(n => n.firstChild.offsetWidth)") == [
        *(20, 28, 40, 64)
    ]
    assert not page.complaints()


def it_fits_a_phone_and_speaks_the_readers_language(page: Browser, file: Path) -> None:
    titles = {"zh-TW": "檢視：run1，Sample Kai，第 150 步", "en": "Review: run1, Sample Kai, step 150"}
    for language, dark in (("zh-TW", True), ("en", False)):
        page.open(file, (375, 800), language, dark)
        width, room = page.run("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert width <= room
        assert page.one("h1").text == titles[language]
        background = page.run("return getComputedStyle(document.body).backgroundColor")
        assert (background != "rgb(255, 255, 255)") == dark
        assert not page.complaints()


def no_script_of_a_stranger_runs(page: Browser, folder: Path) -> None:
    root = reviewable(folder / "hostile", DRAWN, str(FEW))
    config = json.loads((root / "config.json").read_text(encoding="utf-8"))
    config["data"]["labels"] = [HOSTILE]
    (root / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert review.main(["--experiment_dir", str(root)]) == 0
    page.open(root / "infer" / "review.html")
    assert "stolen" not in page.driver.title
    assert "onerror" in page.one("h1").text
    assert not page.complaints()


# Scrolls a page from end to end in 300 jumps, one a frame; milliseconds until it was painted and could be used, and of
# the frames the median, the 95th percentile and the longest.
TIMES = """
const done = arguments[arguments.length - 1], far = document.documentElement.scrollHeight, frames = [];
const paint = performance.getEntriesByType("paint")[0], load = performance.getEntriesByType("navigation")[0];
let last = performance.now();
requestAnimationFrame(function step(now) {
  frames.push(now - last);
  last = now;
  window.scrollTo(0, far * frames.length / 300);
  if (frames.length < 300) return requestAnimationFrame(step);
  frames.sort((one, other) => one - other);
  done([paint.startTime, load.domInteractive, frames[150], frames[285], frames[299]].map(Math.round));
});
"""


def thousands_of_drawings_scroll(page: Browser, folder: Path) -> None:
    root, characters = reviewable(folder / "large", "一", str(FEW)), big5(5000)
    manifest = root / "infer" / "manifest.json"
    entries = [{"character": c, "codepoint": f"U+{ord(c):04X}", "label": 0, "file": "0/U+4E00.png"} for c in characters]
    manifest.write_text(json.dumps({"characters": entries}), encoding="utf-8")
    assert review.main(["--experiment_dir", str(root)]) == 0
    begin = time.monotonic()
    page.open(root / "infer" / "review.html")
    loaded = time.monotonic() - begin
    assert len(shown(page)) < 200, "only what is near the screen is there"
    page.one("h1").click()
    page.press(END)
    assert shown(page).endswith(max(characters))
    times = page.driver.execute_async_script(TIMES)
    print(f"{(root / 'infer' / 'review.html').stat().st_size} bytes, opened twice in {loaded:.2f} s, {times} ms")
    assert not page.complaints()


def test_the_report_of_a_run(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    with browser(tmp_path) as page:
        page.open(run / "report.html")
        assert page.one("#state").text == "step 12 of 12 · ended"
        values = "#losses .values"
        assert page.one(values).text.startswith("step 12")
        page.one("#losses svg").send_keys(LEFT)
        assert page.one(values).text.startswith("step 11")
        assert "held out EMA 0." in page.one("#quality .values").text
        picture = page.one("#picture")
        assert picture.get_attribute("src").endswith("sample/000012.png")
        assert page.run("return arguments[0].decode().then(() => arguments[0].naturalWidth)", picture) > 100
        page.one("#sheet").send_keys(LEFT)
        assert picture.get_attribute("src").endswith("sample/000006.png")

        paths = Paths(run)
        write_live(paths, read_tables(paths), 12, 20, ended=False)
        page.open(run / "report.html", language="zh-TW")
        assert "進行中" in page.one("#state").text
        page.one("#sheet").send_keys(LEFT)
        page.choose("#measure", "墨跡 IoU ↑")
        write_live(paths, read_tables(paths), 12, 20, ended=True)
        page.driver.refresh()
        assert "已結束" in page.one("#state").text
        assert page.one("#picture").get_attribute("src").endswith("sample/000006.png")
        assert page.one("#measure").get_attribute("value") == "ink_iou"
        assert not page.complaints()
