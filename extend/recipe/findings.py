"""What a stage noticed that a user should know, as `{name, text}`: told at once, and kept in its report."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from extend.corpus import Account
from extend.errors import escaped

LOSSY_SHARE = 0.001


def reading_warnings(accounts: Sequence[Account]) -> list[dict[str, str]]:
    """What had to be mended or left out in the files, each with its place."""
    found: list[dict[str, str]] = []
    for account in sorted(accounts, key=lambda account: str(account.path)):
        name, repairs = escaped(account.path.name), account.repairs
        if account.dropped:
            found.append(_warning("W-BAD-FILE", f"{name} was left out: {account.dropped}"))
            continue
        if repairs["magic"]:
            is_what = account.format + account.compression
            found.append(_warning("W-MAGIC", f"{name} was read as {is_what}, which its name does not say"))
        if not account.documents:
            found.append(_warning("W-EMPTY", f"{name} holds no text"))
        if repairs["invalid_utf8"]:
            at = "" if account.first_invalid is None else f", first at byte {account.first_invalid:,}"
            text = f"{name}: {repairs['invalid_utf8']:,} places are not UTF-8 and became U+FFFD{at}"
            found.append(_warning("W-UTF8", text))
        if repairs["bad_records"]:
            found.append(
                _warning("W-RECORDS", f"{repairs['bad_records']:,} records left out: {account.first_bad}")
            )
        if repairs["long_lines"]:
            text = f"{name}: lines over 1 MiB were cut at {repairs['long_lines']:,} places"
            found.append(_warning("W-LONG-LINE", text))
    return found


def duplicate_warnings(paths: Sequence[Path]) -> list[dict[str, str]]:
    """Files that were given by more than one path and are read once."""
    return [_warning("W-DUP", f"{escaped(str(path))} is a file that is read already") for path in paths]


def vocabulary_warnings(report: Mapping[str, Any], *, asked: int | str) -> list[dict[str, str]]:
    """What is unusual about a vocabulary, from its report."""
    found: list[dict[str, str]] = []
    if asked != "auto" and report["added"] < int(asked):
        text = f"the corpus gives {report['added']:,} pieces of the {int(asked):,} asked for"
        found.append(_warning("W-SMALL-VOCAB", text))
    if left_out := report["corpus"]["words_left_out"]:
        text = f"{left_out:,} distinct words, the rarest, did not fit into vocab.memory and were left out"
        found.append(_warning("W-LEFT-OUT", text))
    lost = report["lost_characters"]
    if lost["share"] > LOSSY_SHARE:
        most = ", ".join(f"{_named(character)} {count}" for character, count in lost["most"].items())
        text = f"the base's normalizer changes {lost['share']:.1%} of the characters: {most}"
        found.append(_warning("W-LOSSY", text))
    for file in report.get("protected", {}).get("files", ()):
        if file["words_newly_unk"] > 0:
            text = f"{escaped(file['name'])}: {file['words_newly_unk']:.2%} of the words are unknown now"
            found.append(_warning("W-DRIFT", text))
    return found


def _named(character: str) -> str:
    name = unicodedata.name(character, "").lower()
    return f"U+{ord(character):04X} {name}".rstrip()


def _warning(name: str, text: str) -> dict[str, str]:
    return {"name": name, "text": text}
