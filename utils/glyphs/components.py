"""What characters are made of, and which of them to draw first.

A network that has seen a component in one character draws it in others. So the characters to draw are those that have
between them the components that are used most.
"""

import functools
import gzip
import heapq
from collections import Counter

from utils.glyphs.spec import BUNDLED

TABLE = BUNDLED / "components.txt.gz"
STROKES = range(0x31C0, 0x31F0)  # the CJK strokes of Unicode, which every character has
AGAIN = 0.5  # how much a component counts in a further character, over the one before
DENSITY = 0.75  # with 0 the densest characters would come first, with 1 the simplest


@functools.cache
def _table() -> dict[str, tuple[str, list[str]]]:
    """How the parts of a character lie, and the parts; of parts without a code point too, which have numbers."""
    lines = gzip.decompress(TABLE.read_bytes()).decode("utf-8").splitlines()
    return {name: (how, parts) for name, how, *parts in (line.split(" ") for line in lines)}


@functools.cache
def components(character: str) -> frozenset[str]:
    """The components of a character, itself among them: each alone, and together with its place in what it is part of.

    What the table lacks is a component of its own.
    """
    found, waiting = {character}, [character]
    while waiting:
        how, parts = _table().get(waiting.pop(), ("", []))
        for number, part in enumerate(parts):
            if len(part) == 1 and ord(part) in STROKES:
                continue
            if part not in found:
                waiting.append(part)
            place = "first" if number == 0 else "last" if number == len(parts) - 1 else "middle"
            found |= {part, f"{part} {how[:1]} {place}"}
    return frozenset(found)


def choose(characters: str, count: int, drawn: str = "", among: str | None = None) -> str:
    """`count` characters to draw first, the most telling one first, so that the others of `characters` can be learned.

    They are chosen among these, or among others, and beside those that are `drawn` already.
    Greedily, each time the one whose components are used most in `characters`; what a component counts halves with
    every character that has it. The characters come out about as dense as the others.
    """
    used = Counter(component for character in characters for component in components(character))
    shown = Counter(component for character in drawn for component in components(character))

    def gain(character: str) -> float:
        own = components(character)
        return sum(used[component] * AGAIN ** shown[component] for component in own) / len(own) ** DENSITY

    # Gains only fall: one that is still the largest when it is worked out anew is the largest of all.
    known = set(drawn)
    candidates = [character for character in (characters if among is None else among) if character not in known]
    left = [(-gain(character), number, character) for number, character in enumerate(candidates)]
    heapq.heapify(left)
    chosen = ""
    while left and len(chosen) < count:
        _, number, character = left[0]
        now = (-gain(character), number, character)
        if now > left[0]:
            heapq.heapreplace(left, now)
            continue
        heapq.heappop(left)
        chosen += character
        shown.update(components(character))
    return chosen


def coverage(characters: str, drawn: str) -> float:
    """The share of the components of `characters`, by how often they are used, that the drawn ones have."""
    used = Counter(component for character in characters for component in components(character))
    shown = {component for character in drawn for component in components(character)}
    return sum(times for component, times in used.items() if component in shown) / max(1, used.total())
