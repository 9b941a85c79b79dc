"""Which lines look like another language, by py3langid (naive Bayes over byte n-grams, after langid.py: Lui
and Baldwin 2012), and by script where it does not know the language."""

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from extend.errors import escaped
from extend.survey.sample import LineSample
from extend.survey.scripts import letter_scripts

LEAST_LETTERS = 20
"""Letters of a line that is judged: shorter ones are names and headings more often than not."""
MOST_LINES, FEW_LINES = 5000, 50
MOST_CHARACTERS = 400
OTHERS, EXAMPLES = 5, 3

RELATIVES: tuple[frozenset[str], ...] = tuple(
    frozenset(group.split())
    for group in (
        "rw rn",
        "bs hr sr",
        "no nb nn da",
        "id ms jv",
        "zu xh nr ss nd",
        "st nso tn",
        "cs sk",
        "es gl an ast ext",
        "pt gl",
        "fa prs tg",
        "tt ba crh kk ky",
        "tr az crh tk",
        "uz uzs ug",
        "ku sdh ckb",
        "ar ary arz",
        "zh yue wuu",
        "bg mk",
        "be uk ru",
        "hi ne mr sa",
        "bn as",
        "am ti",
        "lv ltg",
        "gcf gcr ht",
        "he hbo",
        "el grc",
        "fo is",
        "nl af fy",
        "it vec lij",
        "fr wa oc",
        "sn nd",
        "lg nyn",
        "tl bcl",
    )
)
"""Languages a model takes for one another in clean text; lines taken for a relative are told apart from
those of other languages and count against nothing."""


@dataclass(frozen=True)
class Other:
    """What lines look like instead: a language, or a script; its share of the lines judged, examples."""

    label: str
    share: float
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Identified:
    """What judged lines look like; shares are of the lines judged.

    `by` is `py3langid` or `script`; `label` what lines of the language were expected to be called. `own` is
    the share called so, `relatives` that of close relatives, `other` the rest, of which `others` has the
    most frequent. `few` says that too few lines were judged for the shares to mean much. By script, a line
    has the script of most of its letters.
    """

    by: str
    label: str
    lines: int
    own: float
    relatives: float
    other: float
    others: tuple[Other, ...]

    @property
    def few(self) -> bool:
        return self.lines < FEW_LINES


def identify_lines(sample: LineSample, codes: tuple[str, ...], scripts: tuple[str, ...]) -> Identified:
    """What the sample's lines look like: at most MOST_LINES distinct ones of LEAST_LETTERS letters or more.

    `codes` are the language's ISO 639 codes: the first that py3langid has a label for is the one expected.
    Where it has none, lines are told by script, and `scripts` (ISO 15924) are those of the language; with
    no script known the most frequent one is taken for it.
    """
    lines = [
        line
        for line in sample.counts
        if sum(letter_scripts(line[:MOST_CHARACTERS]).values()) >= LEAST_LETTERS
    ]
    lines = lines[:MOST_LINES]
    label = next((code for code in codes if code in known_labels()), None)
    if label is not None:
        near = frozenset().union(*(group for group in RELATIVES if label in group)) - {label}
        called = {line: str(_model().classify(line[:MOST_CHARACTERS])[0]) for line in lines}
        return _told("py3langid", label, near, called)
    by_line = {line: _script_of_most(line[:MOST_CHARACTERS]) for line in lines}
    if not scripts:
        scripts = tuple(script for script, _ in _by_frequency(Counter(by_line.values()))[:1])
    return _told("script", scripts[0] if scripts else "", frozenset(scripts[1:]), by_line)


def known_labels() -> frozenset[str]:
    """The languages that py3langid can tell."""
    return frozenset(_model().labels)


@functools.cache
def _model() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # most of a second, for those who identify

    return LanguageIdentifier.from_model_file(MODEL_FILE)


def _script_of_most(line: str) -> str:
    found = letter_scripts(line)
    return min(found, key=lambda script: (-found[script], script))


def _told(by: str, label: str, near: frozenset[str], called: Mapping[str, str]) -> Identified:
    counts = Counter(called.values())
    total = max(counts.total(), 1)
    others = Counter({name: count for name, count in counts.items() if name != label and name not in near})
    return Identified(
        by=by,
        label=label,
        lines=len(called),
        own=counts[label] / total,
        relatives=sum(counts[name] for name in near) / total,
        other=others.total() / total,
        others=tuple(
            Other(name, count / total, _examples(name, called))
            for name, count in _by_frequency(others)[:OTHERS]
        ),
    )


def _examples(name: str, called: Mapping[str, str]) -> tuple[str, ...]:
    lines = [line for line, given in called.items() if given == name]
    return tuple(escaped(line) for line in lines[:EXAMPLES])


def _by_frequency(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
