"""Text of many scripts, safe and readable: in a page, in Markdown, in YAML."""

import json
import re
import unicodedata
from pathlib import PurePath

from extend.errors import escaped

DASH = "—"
_JOINERS = re.compile("([\u200c\u200d])")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#!|~&$@]|^[-+=])")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def shown(text: str, *, limit: int = 80) -> str:
    """`escaped`, but the joiners that Sinhala, Persian or Kannada spelling needs stay where letters meet."""
    parts = _JOINERS.split(text[: limit + 1])
    whole = "".join(
        part if index % 2 and parts[index - 1] and parts[index + 1] else escaped(part, limit=10 * limit)
        for index, part in enumerate(parts)
    )
    return whole if len(text) <= limit and len(whole) <= 4 * limit else whole[: limit - 1] + "…"


def direction(text: str) -> str:
    """`rtl` or `ltr`, by the first letter that has a direction."""
    for character in text:
        if (kind := unicodedata.bidirectional(character)) in ("L", "R", "AL"):
            return "ltr" if kind == "L" else "rtl"
    return "ltr"


def markdown(text: str, *, limit: int = 80) -> str:
    """Text that Markdown and HTML leave as it is: no emphasis, link, tag, table border or heading."""
    safe = _MARKDOWN.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), shown(text, limit=limit))
    return safe.replace("www.", "www\\.").replace("://", ":\\//")


def yaml_text(text: str) -> str:
    """A YAML 1.1 and 1.2 double-quoted scalar that gives `text` back."""
    return "".join(map(_yaml_character, json.dumps(text, ensure_ascii=False)))


def _yaml_character(character: str) -> str:
    code = ord(character)
    if code > 0xFFFF and unicodedata.category(character)[0] == "C":
        return f"\\U{code:08x}"
    hidden = code > 0x7E and unicodedata.category(character) in (
        "Cc",
        "Cf",
        "Cs",
        "Cn",
        "Co",
        "Zl",
        "Zp",
        "Zs",
    )
    return f"\\u{code:04x}" if hidden or code == 0x7F else character


def file_name(path: str) -> str:
    """The last part of a path: folders of the machine a run was made on are nobody's business."""
    return PurePath(path).name


def number(value: float | None, digits: int = 1) -> str:
    """With thousands separators and a true minus sign; an em dash when there is none."""
    return DASH if value is None else f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")


def whole(value: float | None) -> str:
    """A number without decimals."""
    return number(value, 0)


def percent(fraction: float | None) -> str:
    """Of a fraction; a share that rounding would hide is `under 0.1 %`."""
    if fraction is not None and 0 < fraction < 0.0005:
        return "under 0.1 %"
    return DASH if fraction is None else f"{number(100 * fraction)} %"


def span(bounds: tuple[float, float] | None) -> str:
    """An interval: `[40.3, 45.7]`."""
    return "" if bounds is None else f"[{number(bounds[0])}, {number(bounds[1])}]"


def duration(seconds: float | None) -> str:
    """`42 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float | None) -> str:
    """Bytes in binary units."""
    if count is None:
        return DASH
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
