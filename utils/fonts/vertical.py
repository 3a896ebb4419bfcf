"""Vertical text: punctuation that has another form in it, and the feature that has programs use that form.

Unicode has code points for the vertical forms of punctuation. They are drawn as other characters are, and `vert` and
`vrt2` of GSUB put them in place of the horizontal ones, where the source font does so with its own.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fontTools.feaLib.builder import addOpenTypeFeaturesFromString
from fontTools.misc.textTools import Tag
from fontTools.otlLib.builder import buildLookup, buildSingleSubstSubtable
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables import otTables

from utils.glyphs.charset import VERTICAL_FORMS, is_han
from utils.glyphs.font_file import unicode_cmap
from utils.glyphs.render import GlyphRenderer
from utils.messages import _

logger = logging.getLogger(__name__)
FEATURES = ("vert", "vrt2")


def turned_in(source: GlyphRenderer) -> set[str]:
    """The characters of a font that its own features replace in vertical text."""
    found: set[str] = set()
    for file in source.files:
        try:
            with file.open_as_it_is() as font:
                cmap, replaced = unicode_cmap(font) or {}, _replaced(font)
        # What fontTools raises for a damaged table is no closed set. The font can be set horizontally all the same.
        except Exception:
            continue
        found |= {chr(code) for code, name in cmap.items() if name in replaced}
    return found


def _replaced(font: TTFont) -> set[str]:
    """The glyphs that a font's features for vertical text replace."""
    if "GSUB" not in font:
        return set()
    gsub: Any = font["GSUB"]
    records = [record for record in gsub.table.FeatureList.FeatureRecord if record.FeatureTag in FEATURES]
    numbers = {number for record in records for number in record.Feature.LookupListIndex}
    tables = (table for number in numbers for table in gsub.table.LookupList.Lookup[number].SubTable)
    return {glyph for table in tables for glyph in getattr(getattr(table, "ExtSubTable", table), "mapping", {})}


def vertical_pairs(new: str, there: Collection[str], sources: Sequence[GlyphRenderer]) -> tuple[dict[str, str], str]:
    """Which of the `new` characters of a font get which vertical form, and those that would need one that it lacks.

    The font has what is `there` too. The `sources` tell which are replaced in vertical text; of some, such as small
    kana, Unicode has no form, so that none can be drawn.
    """
    upright = [c for c in new if not is_han(ord(c))]
    turned = set().union(*map(turned_in, sources)) if upright else set()
    known, wanted = {*new, *there}, [c for c in upright if c in turned]
    pairs = {c: VERTICAL_FORMS[c] for c in wanted if VERTICAL_FORMS.get(c) in known}
    return pairs, "".join(c for c in wanted if c not in pairs)


def add_vertical_forms(font: TTFont, pairs: Mapping[str, str]) -> None:
    """Have a font replace characters by others in vertical text, beside what its features do.

    Without `pairs` its features are not read, and so stay byte for byte; features that can't be read stay so too.
    """
    if not pairs:
        return
    cmap = font.getBestCmap() or {}
    try:
        replaced = _replaced(font)
    # What fontTools raises for a damaged table is no closed set.
    except Exception:
        font.tables.pop(Tag("GSUB"), None)  # half read; it is written as it is in the file
        logger.info(_("the features of the base can't be read: it gets no vertical forms"))
        return
    known = {a: b for a, b in pairs.items() if ord(a) in cmap and ord(b) in cmap and cmap[ord(a)] not in replaced}
    glyphs = {cmap[ord(a)]: cmap[ord(b)] for a, b in known.items()}
    if not glyphs:
        return
    if "GSUB" not in font:
        rules = "\n".join(f"sub {name} by {form};" for name, form in sorted(glyphs.items()))
        features = "\n".join(f"feature {tag} {{ lookup vertical; }} {tag};" for tag in FEATURES)
        text = f"languagesystem DFLT dflt;\nlookup vertical {{\n{rules}\n}} vertical;\n{features}\n"
        addOpenTypeFeaturesFromString(font, text, tables=["GSUB"])
    else:
        _append(font, glyphs)


def _append(font: TTFont, glyphs: Mapping[str, str]) -> None:
    """Put a further lookup into the GSUB table of a font, and into its features for vertical text, or new ones."""
    table: Any = font["GSUB"].table
    table.LookupList.Lookup.append(buildLookup([buildSingleSubstSubtable(dict(glyphs))]))
    number = len(table.LookupList.Lookup) - 1
    records = table.FeatureList.FeatureRecord
    known = {tag: [record for record in records if record.FeatureTag == tag] for tag in FEATURES}
    for record in (record for found in known.values() for record in found):
        record.Feature.LookupListIndex.append(number)
    if not any(known.values()):
        first = len(records)
        records += [_feature(tag, number) for tag in FEATURES]
        for system in _language_systems(table):
            system.FeatureIndex = [*system.FeatureIndex, *range(first, len(records))]
            system.FeatureCount = len(system.FeatureIndex)
    table.LookupList.LookupCount, table.FeatureList.FeatureCount = len(table.LookupList.Lookup), len(records)


def _language_systems(table: Any) -> Any:
    for script in table.ScriptList.ScriptRecord:
        if script.Script.DefaultLangSys is not None:
            yield script.Script.DefaultLangSys
        yield from (record.LangSys for record in script.Script.LangSysRecord)


def _feature(tag: str, number: int) -> Any:
    tables: Any = otTables  # which makes its classes when it is loaded
    record = tables.FeatureRecord()
    record.FeatureTag, record.Feature = tag, tables.Feature()
    record.Feature.FeatureParams, record.Feature.LookupListIndex, record.Feature.LookupCount = None, [number], 1
    return record
