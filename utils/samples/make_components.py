"""Make components.txt.gz again from the CJK Decomposition Data File.

    python utils/samples/make_components.py cjk-decomp.txt

Keeps the ideographs of the Basic Multilingual Plane and of HKSCS, and whatever these are made of. A line is a character
(or a number, for what has no code point), how its parts lie, and the parts, in the file's own terms.
"""

import gzip
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from utils.glyphs.charset import is_han, read_charset

RECORD = re.compile(r"(.+?):([^(]*)\(([^)]*)\)")
OUT = Path(__file__).parent / "components.txt.gz"


def main(argv: list[str]) -> None:
    if len(argv) != 1:
        raise SystemExit(__doc__)
    records = map(RECORD.match, Path(argv[0]).read_text(encoding="utf-8").splitlines())
    known = {match[1]: (match[2], [part for part in match[3].split(",") if part]) for match in records if match}
    wanted = [chr(code) for code in range(0x3400, 0xA000) if is_han(code)] + list(read_charset("big5+hkscs"))
    kept: dict[str, str] = {}
    while wanted:
        name = wanted.pop()
        if name in known and name not in kept:
            how, parts = known[name]
            kept[name] = " ".join([name, how or "c", *parts])
            wanted += parts
    text = "".join(f"{kept[name]}\n" for name in sorted(kept))
    OUT.write_bytes(gzip.compress(text.encode("utf-8"), 9, mtime=0))


if __name__ == "__main__":
    main(sys.argv[1:])
