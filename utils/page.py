"""HTML pages of one file: no script but their own runs in them, and nothing is fetched."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

PAGES = Path(__file__).parent / "pages"  # NAME.html, .css and .js of each, and what they share


def render(name: str, data: Any, images: str, more: str = "") -> str:
    """The page `name` with `data`, which its script reads, and `more` markup.

    Images may come from `images`, sources of a Content Security Policy. `data` may come from a stranger: it is JSON, in
    which no tag can begin. `more` must not.
    """
    style, script = ("".join(_read(f"{part}.{kind}") for part in ("shared", name)) for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src {images}"
    packed = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {"policy": policy, "style": style, "body": _read(f"{name}.html"), "data": packed, "more": more}
    parts["script"] = script
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("shared.html"))


def _read(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")
