"""Make the README's pictures of the pages, of an experiment that has both.

python -m tests.screenshots --experiment_dir experiments/run1 --out .assets
"""

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image

from tests.helpers.browser import Browser, browser

COLOURS = 32  # of a picture: the pages are grey, but for the curves and the marks


def save(page: Browser, path: Path) -> None:
    """Save what the window shows, with few colours."""
    picture = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    picture.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path, path.stat().st_size, "bytes")


def main() -> None:
    """Open the pages and save what is seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment_dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(".assets"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as page:
        page.open((args.experiment_dir / "infer" / "review.html").resolve(), (900, 620))
        page.one(".card").click()
        page.press("r", "\ue014", "g", "\ue014", "x")
        save(page, args.out / "review.png")
        page.open((args.experiment_dir / "report.html").resolve(), (900, 620))
        save(page, args.out / "report.png")


if __name__ == "__main__":
    main()
