"""The published rules of conlleval.pl (CoNLL-2000 shared task), word by word: when a chunk ends and begins.

Written from the rules as the shared task describes them, for IOB and IOBES tags: a chunk ends where the
next word is outside, begins a chunk or has another type, or where the tag itself says end; it begins with
B or S, with any tag of another type than the one before, and after an outside word or an ended chunk. A chunk
is right when it begins and ends at the same words with the same type in both columns. (The script itself
misses that B after E begins a chunk; IOB tags have no E.)
"""

from collections.abc import Sequence
from typing import NamedTuple


class Counts(NamedTuple):
    correct: int
    guessed: int
    gold: int

    @property
    def precision(self) -> float:
        return 100 * self.correct / self.guessed if self.guessed else 0.0

    @property
    def recall(self) -> float:
        return 100 * self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def count(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Counts:
    """Correct, guessed and gold chunks of IOB tags; one pass over the words, as the script makes."""
    correct = guessed = wanted = 0
    for tags, others in zip(gold, predicted, strict=True):
        running = False  # both sides are in a chunk that began together with the same type
        before, other_before = ("O", ""), ("O", "")
        for tag, other in zip([*tags, "O"], [*others, "O"], strict=True):
            now, other_now = _split(tag), _split(other)
            gold_ended, guess_ended = _ended(before, now), _ended(other_before, other_now)
            if running and gold_ended and guess_ended:
                correct, running = correct + 1, False
            elif running and (gold_ended or guess_ended or now[1] != other_now[1]):
                running = False
            gold_begun, guess_begun = _begun(before, now), _begun(other_before, other_now)
            running = running or (gold_begun and guess_begun and now[1] == other_now[1])
            wanted, guessed = wanted + gold_begun, guessed + guess_begun
            before, other_before = now, other_now
    return Counts(correct, guessed, wanted)


def _split(tag: str) -> tuple[str, str]:
    mark, _, label = tag.partition("-")
    return mark, label


def _ended(before: tuple[str, str], now: tuple[str, str]) -> bool:
    if before[0] == "O":
        return False
    return before[0] in "ES" or now[0] in "OBS" or before[1] != now[1]


def _begun(before: tuple[str, str], now: tuple[str, str]) -> bool:
    if now[0] == "O":
        return False
    return now[0] in "BS" or before[0] in "OES" or before[1] != now[1]
