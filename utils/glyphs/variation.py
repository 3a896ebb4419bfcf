"""Variable fonts: their axes, a place among what they can be, and the font that stands there."""

import io
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import freetype
from fontTools.ttLib import TTFont

from utils.errors import UserError, abbreviate
from utils.messages import _

Variation = tuple[tuple[str, float], ...]  # axes and their values, in the order of the font; the others stand as ever
SETTING = re.compile(r"([A-Za-z][A-Za-z0-9]{1,3})=(-?[0-9]+(?:\.[0-9]+)?)")
OTHERS = ("glyf", "loca", "gvar", "cvar", "CFF2", "GSUB", "GPOS", "GDEF", "BASE", "COLR")  # what metrics don't need
OF_ADVANCES = ("glyf", "loca", "gvar")


class Axis(NamedTuple):
    """An axis of a variable font, from its least value to its greatest."""

    tag: str
    least: float
    usual: float
    greatest: float


def axes_of(font: TTFont) -> list[Axis]:
    """The axes of a font; none where it is not variable."""
    if "fvar" not in font:
        return []
    found: Any = font["fvar"]
    return [Axis(axis.axisTag, axis.minValue, axis.defaultValue, axis.maxValue) for axis in found.axes]


def instances_of(font: TTFont) -> dict[str, dict[str, float]]:
    """The places of a variable font that have names, in English or as the font has them."""
    if "fvar" not in font:
        return {}
    fvar, names = font["fvar"], font["name"]
    named = ((names.getDebugName(instance.subfamilyNameID), instance.coordinates) for instance in fvar.instances)
    return {name: dict(coordinates) for name, coordinates in named if name}


def find_variation(font: TTFont, text: str, spec: str) -> Variation:
    """The place that `wght=400,wdth=75`, or the name of an instance, means in `font`; `spec` is what names the font.

    Raises:
        UserError: when the font is not variable, or has no such axis, value or instance.
    """
    axes, instances = {axis.tag: axis for axis in axes_of(font)}, instances_of(font)
    if not axes:
        raise UserError(_("font {spec} is not variable: leave out :{text}", spec=spec, text=text))
    known = {name.casefold(): place for name, place in instances.items()}
    if text.casefold() in known:
        found = known[text.casefold()]
        return tuple((tag, float(found[tag])) for tag in axes if tag in found)
    settings = [SETTING.fullmatch(part.strip()) for part in text.split(",")]
    if None in settings:
        names = _(" nor one of {instances}", instances=abbreviate(", ".join(instances), 100)) if instances else ""
        raise UserError(
            _("font {spec}: '{text}' after the colon is not AXIS=VALUE{names}", spec=spec, text=text, names=names)
        )
    wanted = {match[1]: float(match[2]) for match in settings if match}
    for tag, value in wanted.items():
        if tag not in axes:
            raise UserError(
                _(
                    "font {spec} has no axis {tag}: it has {axes}",
                    spec=spec,
                    tag=tag,
                    axes=describe_axes(list(axes.values())),
                )
            )
        if not axes[tag].least <= value <= axes[tag].greatest:
            raise UserError(
                _(
                    "font {spec}: {tag} is from {least:g} to {greatest:g}, not {value:g}",
                    spec=spec,
                    tag=tag,
                    least=axes[tag].least,
                    greatest=axes[tag].greatest,
                    value=value,
                )
            )
    return tuple((tag, wanted[tag]) for tag in axes if tag in wanted)


def describe_axes(axes: list[Axis]) -> str:
    """`wght 100 to 900, wdth 75 to 125`."""
    return abbreviate(", ".join(f"{axis.tag} {axis.least:g} to {axis.greatest:g}" for axis in axes), 80)


def as_text(variation: Variation) -> str:
    """`wght=400,wdth=75`, as it stands after the colon of a font's name."""
    return ",".join(f"{tag}={value:g}" for tag, value in variation)


def set_face(face: freetype.Face, variation: Variation) -> None:
    """Have FreeType draw a variable font as it is at a place."""
    wanted = dict(variation)
    space = face.get_variation_info()
    face.set_var_design_coords([wanted.get(axis.tag, axis.default) for axis in space.axes])


def with_metrics_of(font: TTFont, variation: Variation) -> TTFont:
    """The advances and line metrics that a font has at a place; its outlines are left out.

    That takes no time, while all the outlines of a Chinese font take half a minute.
    """
    for tag in OTHERS:
        needed = tag in OF_ADVANCES and "HVAR" not in font  # then the outlines' own variation tells the advances
        if tag in font and not needed:
            del font[tag]
    return _instantiated(font, variation)


def instantiate(opened: Callable[[], TTFont], variation: Variation) -> bytes:
    """The file of the font that a variable font is at a place, which is not variable any more.

    It is named as its instance is, where the font tells that; `opened` gives the font, fresh at each call.
    """
    content = io.BytesIO()
    try:
        font = _instantiated(opened(), variation, updateFontNames=True)
    except ValueError:  # there is no STAT table, or none that knows the place
        font = _instantiated(opened(), variation)
    font.save(content)
    return content.getvalue()


def _instantiated(font: TTFont, variation: Variation, **how: Any) -> TTFont:
    from fontTools.varLib import instancer  # it takes a while to load

    place = {axis.tag: axis.usual for axis in axes_of(font)} | dict(variation)
    keep = instancer.OverlapMode.KEEP_AND_DONT_SET_FLAGS
    return instancer.instantiateVariableFont(
        font, place, inplace=True, overlap=keep, downgradeCFF2="CFF2" in font, **how
    )


def name_of(font: TTFont, variation: Mapping[str, float]) -> str:
    """The name of the instance at a place; where there is none, the place."""
    usual = {axis.tag: axis.usual for axis in axes_of(font)}
    for name, place in instances_of(font).items():
        if usual | place == usual | dict(variation):
            return name
    return " ".join(f"{tag} {value:g}" for tag, value in variation.items())
