"""The verdict of `extend plan`, by thresholds. docs/plan.md says what was measured to choose them."""

from dataclasses import dataclass

OTHER_LANGUAGE = 0.25
"""Share of judged lines that look like another language from which the text is to be cleaned first."""
DUPLICATED = 0.5
"""Share of lines that repeat earlier ones, or nearly do, from which it is."""
FEW_WORDS = 20_000
"""Running words below which a corpus is too small to choose pieces from."""
SHORT_OF_WORDS = 1_000_000
"""Running words below which more text is worth more than another setting."""
UNKNOWN = 0.05
"""Share of held-out words with an unknown piece from which the base cannot read the language."""
FEW_UNKNOWN = 0.005
"""Share of such words up to which it can."""
WELL_CUT = 1.6
"""Pieces a word up to which a base cuts a language as well as those it knows best."""
MUCH_SHORTER, LITTLE_SHORTER = 0.25, 0.15
"""Share of pieces a word that new pieces save: from the first it is much, below the second little."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the verdict rests on. Rates are of held-out words with a letter, so that quotation marks that a
    base lacks are no unknown words; `other_share` and `near_share` are of lines.

    `other_share` is None where too few lines were judged; `words` are running words of the whole corpus;
    `seen` says whether the base's pretraining had the language, None when nobody knows.
    """

    words: int
    near_share: float
    other_share: float | None
    unk_rate: float
    fertility: float
    extended_unk_rate: float
    extended_fertility: float
    seen: bool | None = None

    @property
    def saved(self) -> float:
        """Share of the pieces a word that the extension saves; an unknown word is one piece, so that a base
        that cannot read the language may seem to lose by it."""
        return 1 - self.extended_fertility / self.fertility if self.fertility else 0.0


@dataclass(frozen=True)
class Verdict:
    """`name` is one of clean-first, too-small, likely, may-help, unlikely; `text` says it in words."""

    name: str
    text: str
    reasons: tuple[str, ...]


_TEXTS = {
    "clean-first": "clean the text first",
    "too-small": "the corpus is too small",
    "likely": "extension is likely to help",
    "may-help": "extension may help",
    "unlikely": "extension is unlikely to help",
}


def judge(evidence: Evidence) -> Verdict:
    """The first that holds.

    The text is not clean; it is too small; the base cannot read the language (likely); the base reads it and
    cuts it well, or new pieces hardly shorten it (unlikely); the base never saw it and new pieces make words
    much shorter (likely). Otherwise it may help.
    """
    if faults := _faults(evidence):
        return _verdict("clean-first", *faults)
    if evidence.words < FEW_WORDS:
        return _verdict("too-small", f"{evidence.words:,} words, fewer than {FEW_WORDS:,}")
    unknown = f"{evidence.unk_rate:.2%} of held-out words hold an unknown piece"
    if evidence.unk_rate >= UNKNOWN:
        after = f"{evidence.extended_unk_rate:.2%} with new pieces"
        return _verdict("likely", f"{unknown}, {after}", *_notes(evidence))
    shorter = (
        f"new pieces take {evidence.fertility:.2f} pieces a word to {evidence.extended_fertility:.2f}, "
        f"{abs(evidence.saved):.0%} {'fewer' if evidence.saved >= 0 else 'more'}"
    )
    if evidence.unk_rate <= FEW_UNKNOWN and evidence.fertility <= WELL_CUT:
        well = f"the base cuts words into {evidence.fertility:.2f} pieces, as in the languages it knows best"
        return _verdict("unlikely", well, unknown, *_instead(evidence))
    if evidence.unk_rate <= FEW_UNKNOWN and evidence.saved < LITTLE_SHORTER:
        return _verdict("unlikely", shorter, unknown, *_instead(evidence))
    if evidence.seen is False and evidence.saved >= MUCH_SHORTER:
        return _verdict("likely", shorter, "the base never saw the language", *_notes(evidence))
    return _verdict("may-help", shorter, unknown, *_notes(evidence))


def _verdict(name: str, *reasons: str) -> Verdict:
    return Verdict(name, _TEXTS[name], reasons)


def _faults(evidence: Evidence) -> list[str]:
    found = []
    if evidence.other_share is not None and evidence.other_share >= OTHER_LANGUAGE:
        found.append(f"{evidence.other_share:.0%} of the lines look like another language")
    if evidence.near_share >= DUPLICATED:
        found.append(f"{evidence.near_share:.0%} of the lines repeat others, or nearly do")
    return found


def _instead(evidence: Evidence) -> list[str]:
    if evidence.seen:
        return []
    return ["training on the text without new pieces may still help, if the base did not see the language"]


def _notes(evidence: Evidence) -> list[str]:
    notes = []
    if evidence.words < SHORT_OF_WORDS:
        notes.append(f"{evidence.words:,} words are few: more text would be worth more than any setting")
    if evidence.seen:
        notes.append("the base saw the language in its pretraining, so that there is less to gain")
    if evidence.seen is None and evidence.unk_rate < UNKNOWN:
        notes.append("whether the base saw the language is not known to us; if it did not, more is to gain")
    return notes
