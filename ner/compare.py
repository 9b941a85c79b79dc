"""Scoring and paired significance alone: for files of tags, whoever made them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from extend.errors import DataError, PathError, UsageError, escaped
from ner.data import DATASETS, LocatedSentence, read_columns
from ner.score import Ints, count_spans, difference, interval
from ner.tags import Scheme, detect_scheme, illegal_transitions, spans_of, tags_of

SEED = 1


def score_files(gold: Path, predicted: Path) -> dict[str, Any]:
    """Score the last column of `predicted` against the last column of `gold`.

    Returns:
        `strict` and `repaired`, each {precision, recall, f1} in percent; `illegal`, the number of illegal
        transitions in `predicted`; `per_type` {TYPE: {precision, recall, f1, support}} (repaired);
        `scheme`, `sentences`, `words`, `entities` (gold) and `predicted_entities`.

    Raises:
        DataError: E-MISMATCH at the first line whose words differ; or a file that cannot be read as CoNLL.
        PathError: a file is missing.
    """
    wanted, found = _read(gold), _read(predicted)
    _check_same_words(gold, wanted, predicted, found)
    return score_tags([one.tags for one in wanted], [one.tags for one in found])


def score_tags(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, Any]:
    """What `score_files` returns, for tags in any scheme (the same one on both sides).

    Raises DataError when the marks of two schemes are mixed.
    """
    scheme = _scheme(gold, predicted)
    repaired = count_spans(_in_iob2(gold, scheme, strict=False), _in_iob2(predicted, scheme, strict=False))
    strict = count_spans(_in_iob2(gold, scheme, strict=True), _in_iob2(predicted, scheme, strict=True))
    support = repaired.support()
    return {
        "strict": asdict(strict.total()),
        "repaired": asdict(repaired.total()),
        "illegal": sum(illegal_transitions(tags, scheme=scheme) for tags in predicted),
        "per_type": {
            label: asdict(rates) | {"support": support[label]} for label, rates in repaired.per_type().items()
        },
        "scheme": scheme.value,
        "sentences": len(gold),
        "words": sum(map(len, gold)),
        "entities": int(repaired.gold.sum()),
        "predicted_entities": int(repaired.predicted.sum()),
    }


def _scheme(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Scheme:
    """That of gold, unless only the predictions have the marks of BIOES or BILOU."""
    try:
        both, alone = detect_scheme([*gold, *predicted]), detect_scheme(gold)
    except ValueError as error:
        raise DataError(str(error), name="E-NER-SCHEME", next="convert the files to one scheme") from error
    return both if both in {Scheme.BIOES, Scheme.BILOU} else alone


def _in_iob2(sentences: Sequence[Sequence[str]], scheme: Scheme, *, strict: bool) -> list[tuple[str, ...]]:
    return [tags_of(spans_of(tags, scheme=scheme, strict=strict), len(tags)) for tags in sentences]


def _read(path: Path) -> list[LocatedSentence]:
    name = "jsonl" if path.suffix == ".jsonl" else "conll"
    sentences = list(DATASETS[name](path))
    if not sentences:
        raise DataError(f"{path} has no sentence", name="E-NER-EMPTY")
    return sentences


def _check_same_words(
    first: Path, mine: Sequence[LocatedSentence], second: Path, theirs: Sequence[LocatedSentence]
) -> None:
    for one, other in zip(mine, theirs, strict=False):
        for place in range(max(len(one.words), len(other.words))):
            ends = [place >= len(sentence.words) for sentence in (one, other)]
            if any(ends) or one.words[place] != other.words[place]:
                raise _mismatch(first, one, second, other, place)
    if len(mine) != len(theirs):
        shorter, longer = sorted((mine, theirs), key=len)
        path = first if longer is mine else second
        line = longer[len(shorter)].lines[0]
        raise DataError(
            f"{path}:{line}: a sentence that the other file does not have",
            name="E-MISMATCH",
            why=f"{first} has {len(mine)} sentences, {second} has {len(theirs)}",
            next="score files of the same sentences",
        )


def _mismatch(
    first: Path, one: LocatedSentence, second: Path, other: LocatedSentence, place: int
) -> DataError:
    def shown(sentence: LocatedSentence) -> tuple[int, str]:
        if place < len(sentence.words):
            return sentence.lines[place], escaped(sentence.words[place], limit=30)
        return sentence.lines[-1] + 1, "the end of the sentence"

    (mine, word), (theirs, other_word) = shown(one), shown(other)
    return DataError(
        f"{first}:{mine} and {second}:{theirs} differ: {word} against {other_word}",
        name="E-MISMATCH",
        why="gold and predictions must have the same words in the same sentences",
        next="score files of the same sentences",
    )


Runs = Mapping[str, Sequence[Path]]


def compare(first: Path, second: Path, *, seed: int = SEED) -> dict[str, Any]:
    """Paired bootstrap of `second` minus `first`.

    Each is a file of predictions (columns word, gold, predicted); the common start of several seeds' files
    (`predictions/base-en-si` for `base-en-si-seed1.conll`, `base-en-si-seed2.conll`, ...); or a folder that
    ner-eval wrote, of which every set both have is compared.

    Returns:
        `comparisons` {NAME: {first{f1_mean, ci95, seeds}, second{...}, f1, ci95, p, noise, sentences}}, F1 in
        percent.

    Raises:
        PathError: nothing is there. UsageError: two folders have no set in common. DataError: the sentences,
        or their gold tags, differ (E-MISMATCH).
    """
    mine, theirs = _runs(first), _runs(second)
    if len(mine) == len(theirs) == 1:
        pairs = {f"{next(iter(theirs))} - {next(iter(mine))}": (*mine.values(), *theirs.values())}
    else:
        pairs = {name: (mine[name], theirs[name]) for name in mine if name in theirs}
    if not pairs:
        raise UsageError(
            f"{first} and {second} have no set in common",
            name="E-NER-COMPARE",
            why=f"{', '.join(mine)} against {', '.join(theirs)}",
            next="give two files of predictions, or two such starts of names",
        )
    return {"comparisons": {name: _compare(*files, seed=seed) for name, files in pairs.items()}}


def _runs(path: Path) -> Runs:
    if path.is_file():
        return {path.stem: [path]}
    folder = path / "predictions" if (path / "predictions").is_dir() else path
    if folder.is_dir():
        files = sorted(folder.glob("*-seed*.conll"))
    else:
        files = sorted(path.parent.glob(f"{_escaped_glob(path.name)}-seed*.conll"))
    runs: dict[str, list[Path]] = {}
    for file in files:
        runs.setdefault(file.stem.rpartition("-seed")[0], []).append(file)
    if not runs:
        raise PathError(
            f"no predictions at {path}",
            name="E-PATH",
            why="neither a file, nor a folder of NAME-seedN.conll files, nor the start of such names",
        )
    return runs


def _escaped_glob(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _compare(first: Sequence[Path], second: Sequence[Path], *, seed: int) -> dict[str, Any]:
    reference = list(read_columns(first[0], tag=1))
    counts = [[_counts(file, first[0], reference) for file in files] for files in (first, second)]
    gap = difference(counts[0], counts[1], seed=seed)
    before, after = (_side(side, seed) for side in counts)
    return {
        "first": before,
        "second": after,
        "f1": gap.mean,
        "ci95": [gap.low, gap.high],
        "p": gap.p,
        "noise": gap.noise,
        "sentences": len(reference),
    }


def _side(counts: Sequence[Ints], seed: int) -> dict[str, Any]:
    spread = interval(counts, seed=seed)
    return {"f1_mean": spread.mean, "ci95": [spread.low, spread.high], "seeds": len(counts)}


def _counts(path: Path, reference_path: Path, reference: Sequence[LocatedSentence]) -> Ints:
    """Per-sentence counts of one file, whose gold column must be that of the reference."""
    gold, predicted = list(read_columns(path, tag=1)), list(read_columns(path, tag=2))
    _check_same_words(reference_path, reference, path, gold)
    for mine, theirs in zip(reference, gold, strict=True):
        if mine.tags != theirs.tags:
            place = next(i for i, tag in enumerate(mine.tags) if tag != theirs.tags[i])
            raise DataError(
                f"{reference_path}:{mine.lines[place]} and {path}:{theirs.lines[place]} differ in gold: "
                f"{mine.tags[place]} against {theirs.tags[place]}",
                name="E-MISMATCH",
                next="compare predictions for the same gold file",
            )
    tags = [one.tags for one in gold], [one.tags for one in predicted]
    scheme = _scheme(*tags)
    return count_spans(*(_in_iob2(side, scheme, strict=False) for side in tags)).by_sentence()
