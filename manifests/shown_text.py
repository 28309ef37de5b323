"""Text of strangers as it may stand on a terminal, in a log and in a message: what could act is shown as its code."""

from __future__ import annotations

import json
import re

# Control characters but for a line's end and a tab; halves of characters; and what changes the order of text or is not
# seen at all, soft hyphens and tags among it. What joins or parts letters (U+200C, U+200D) belongs to the spelling.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_COLOUR = re.compile(r"(\x1b\[[0-9;]{0,20}m)")


def visible(text: str, colours: bool = False) -> str:
    """The text with each such character as ⟨U+001B⟩, as the report's page has it; `colours` of terminals may stay."""
    if not _HIDDEN.search(text):
        return text
    if colours:
        return "".join(part if at % 2 else visible(part) for at, part in enumerate(_COLOUR.split(text)))
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def visible_json(text: str) -> str:
    """JSON, in which such characters stand in strings alone, with their escapes."""
    return _HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text)
