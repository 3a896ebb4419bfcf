"""What is shown at once of the glyphs that were uploaded: how much of each charset they are."""

from utils.glyphs.charset import NAMED, read_charset
from utils.glyphs.image_folder import GlyphImages
from utils.glyphs.render import GlyphRenderer
from utils.messages import _
from utils.web.projects import Project

Row = tuple[str, str, int, int, str]  # name of a charset, what it is, characters that are there, all, per cent


def coverage_of(project: Project, role: str) -> tuple[str, list[Row]]:
    """The title of a project's `source` or `target`, and its part of each charset that it has something of.

    Raises:
        UserError: when it can't be read any more.
    """
    spec = project.font(role)
    if spec is not None:
        glyphs: GlyphRenderer | GlyphImages = GlyphRenderer(spec)
    elif role == "target" and project.glyphs.is_dir():
        glyphs = GlyphImages(str(project.glyphs))
    else:
        return _("a bundled font, to try things out with"), []
    rows = []
    for name, (what, _characters) in NAMED.items():
        characters = read_charset(name)
        have = sum(map(glyphs.covers, characters))
        if have:
            rows.append((name, _(what), have, len(characters), f"{have / len(characters):.1%}"))
    return glyphs.title, rows
