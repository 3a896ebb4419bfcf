"""Make the README's pictures of the pages, of an experiment that has both, and of the app, of a project with a font.

python -m tests.screenshots --experiment_dir experiments/run1 --out .assets
python -m tests.screenshots --app_dir experiments/app --out .assets
"""

import argparse
import io
import os
import tempfile
from pathlib import Path

from PIL import Image

from tests.helpers.app import Page, app
from tests.helpers.browser import RIGHT, Browser, browser
from tests.helpers.faults import wait_for
from utils import specimen

COLOURS = 32  # of a picture: the pages are grey, but for the curves and the marks
EACH = 3000  # milliseconds for each picture of the app
TABS_WITH_PAGES = {"glyphs": "", "training": "report", "drawing": "", "review": "review", "font": ""}


def seen(page: Browser) -> Image.Image:
    """What the window shows."""
    return Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")


def mark_some(page: Browser) -> None:
    """Mark some drawings of the review page."""
    page.one(".card").click()
    page.press("r", RIGHT, "g", RIGHT, "x")


def save(page: Browser, path: Path) -> None:
    """Save what the window shows, with few colours."""
    seen(page).quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path, path.stat().st_size, "bytes")


def pages(page: Browser, experiment: Path, out: Path) -> None:
    """The review page, with some marks, and the report."""
    page.open((experiment / "infer" / "review.html").resolve(), (900, 620))
    mark_some(page)
    save(page, out / "review.png")
    page.open((experiment / "report.html").resolve(), (900, 620))
    save(page, out / "report.png")


def story(page: Browser, folder: Path, scratch: Path) -> list[Image.Image]:
    """The app from tab to tab, with the project of its last job, and in the end the font that was made."""
    pictures = []
    with app(folder) as address:
        page.driver.set_window_size(1000, 900)
        shown = Page(page, address)
        shown.open()
        wait_for(lambda: "/ 5401" in shown.text("#target-coverage"))
        project = folder / shown.value("#project")
        for name, pages in TABS_WITH_PAGES.items():
            shown.tab(name)
            if pages:
                shown.inside(pages)
                wait_for(lambda: page.run("return [...document.images].every(image => image.naturalWidth > 0)"))
                if pages == "review":
                    mark_some(page)
                else:
                    page.run("document.querySelector('#sheet').scrollIntoView()")
                shown.outside()
            page.run("document.querySelector('button[role=tab]').scrollIntoView()")
            pictures.append(seen(page))
    fonts = sorted((project / "fonts").glob("*.[ot]tf"))
    assert specimen.main([str(fonts[-1]), "--out_dir", str(scratch)]) == 0
    page.driver.get((scratch / "specimen.html").as_uri())
    return [*pictures, seen(page)]


def save_story(pictures: list[Image.Image], path: Path) -> None:
    """Save the pictures as one that moves on by itself."""
    few = [picture.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE) for picture in pictures]
    few[0].save(path, save_all=True, append_images=few[1:], duration=EACH, loop=0, optimize=True)
    print(path, path.stat().st_size, "bytes")


def main() -> None:
    """Open the pages and save what is seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment_dir", type=Path)
    parser.add_argument("--app_dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path(".assets"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as page:
        if args.experiment_dir:
            pages(page, args.experiment_dir, args.out)
        if args.app_dir:
            for language, name in (("en", "app.gif"), ("zh-TW", "app.zh-TW.gif")):
                os.environ["ZI2ZI_LANG"] = language
                page.read_in(language)
                save_story(story(page, args.app_dir.resolve(), Path(folder)), args.out / name)


if __name__ == "__main__":
    main()
