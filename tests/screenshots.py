"""Make the README's pictures of the pages, of an experiment that has both, and of the app, whose last project it shows.

python -m tests.screenshots --experiment_dir experiments/run1 --out .assets
python -m tests.screenshots --app_dir experiments/app --out .assets
"""

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image

from tests.helpers.app import Page, app
from tests.helpers.browser import Browser, browser
from tests.helpers.faults import wait_for

COLOURS = 32  # of a picture: the pages are grey, but for the curves and the marks


def save(page: Browser, path: Path) -> None:
    """Save what the window shows, with few colours."""
    picture = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    picture.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path, path.stat().st_size, "bytes")


def pages(page: Browser, experiment: Path, out: Path) -> None:
    """The review page, with some marks, and the report."""
    page.open((experiment / "infer" / "review.html").resolve(), (900, 620))
    page.one(".card").click()
    page.press("r", "\ue014", "g", "\ue014", "x")
    save(page, out / "review.png")
    page.open((experiment / "report.html").resolve(), (900, 620))
    save(page, out / "report.png")


def training_tab(page: Browser, folder: Path, out: Path) -> None:
    """The app while it shows a training."""
    with app(folder) as address:
        page.driver.set_window_size(1000, 900)
        shown = Page(page, address)
        shown.open()
        shown.tab("training")
        shown.inside("report")
        wait_for(lambda: page.all("img"))
        shown.outside()
        save(page, out / "app.png")


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
            training_tab(page, args.app_dir.resolve(), args.out)


if __name__ == "__main__":
    main()
