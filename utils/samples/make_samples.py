"""Make the two bundled fonts again from their originals.

    python utils/samples/make_samples.py NotoSansCJK-Regular.ttc#3 LXGWWenKai-Regular.ttf

Keeps the outlines of the characters of characters.txt, drops hints and layout features, and
renames the fonts: a modified copy may not carry a name that its licence reserves.
"""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

HERE = Path(__file__).parent
LICENCE = "This Font Software is licensed under the SIL Open Font License, Version 1.1."
DROPPED = ["VORG", "BASE", "vhea", "vmtx", "DSIG", "GSUB", "GPOS", "GDEF", "gasp"]


def make_sample(spec: str, family: str, path: Path, text: str) -> None:
    """Write the subset of the font `spec` (path, or path#index) under the name `family`."""
    source, _, index = spec.partition("#")
    font = TTFont(source, fontNumber=int(index or 0), recalcTimestamp=False)
    missing = sorted(set(map(ord, text)) - set(font.getBestCmap() or {}))
    if missing:
        raise SystemExit(f"{spec} lacks {''.join(map(chr, missing))}")
    original, version, rights = (" ".join((font["name"].getDebugName(name) or "").split()) for name in (4, 5, 0))

    options = subset.Options(layout_features=[], hinting=False, glyph_names=False, desubroutinize=True)
    options.drop_tables += DROPPED
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=text)
    subsetter.subset(font)

    postscript = family.replace(" ", "") + "-Regular"
    font["name"].names = []
    names = {0: f"Subset of {original}, {version}. {rights}", 1: family, 2: "Regular", 3: f"{family} 1.0", 4: family}
    for identifier, value in (names | {5: "Version 1.0", 6: postscript, 13: LICENCE}).items():
        font["name"].setName(value, identifier, 3, 1, 0x409)
    if "CFF " in font:
        cff = font["CFF "].cff
        cff.fontNames = [postscript]
        top = cff.topDictIndex[0]
        top.FullName = top.FamilyName = family
        top.Notice = LICENCE
    font.save(path)


def main(argv: list[str]) -> None:
    if len(argv) != 2:
        raise SystemExit(__doc__)
    text = "".join((HERE / "characters.txt").read_text(encoding="utf-8").split())
    make_sample(argv[0], "Sample Sans", HERE / "source.otf", text)
    make_sample(argv[1], "Sample Kai", HERE / "target.ttf", text)


if __name__ == "__main__":
    main(sys.argv[1:])
