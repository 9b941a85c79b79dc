"""Two systems on the same sentences: paired bootstrap over files of predictions."""

import hashlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extend.errors import PathError, UsageError, escaped
from ner.compare.reading import check_same_gold, check_same_words, read_predictions, read_tags, schemes_of
from ner.compare.scoring import SEED
from ner.data import LocatedSentence
from ner.score import Ints, TagPair, difference, dominance, f1_of, holm, interval, verdict

Runs = Mapping[str, Sequence[Path]]

UNSCORED = ("last", "averaged", "target-dev-oracle", "source-dev")
"""In names of files: predictions by weights that were selected in another way than those that are scored."""


def compare(first: Path, second: Path, *, gold: Path | None = None, seed: int = SEED) -> dict[str, Any]:
    """Paired bootstrap of `second` minus `first`.

    Each is a file of predictions (columns word, gold, predicted; with `gold`, any file whose last tags are
    predicted ones); the common start of several seeds' files (`predictions/base-en-si` for
    `base-en-si-seed1.conll`, `base-en-si-seed2.conll`, ...); or a folder that ner-eval wrote, of which every
    set both have is compared by its scored predictions, not by those of other selections of weights.

    Returns:
        `comparisons` {NAME: {first{f1_mean, f1_std, f1, ci95, seeds}, second{...}, f1, ci95, p, p_holm (over
        the comparisons), noise, identical, verdict, sentences}}, F1 in percent, and with five seeds a side
        `aso`, as in results.json; `warnings`, with
        W-SAME-PREDICTIONS where two systems have the very same tags.

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
    warnings: list[dict[str, str]] = []
    found = {
        name: _compare(*files, gold=gold, seed=seed, comparisons=len(pairs)) for name, files in pairs.items()
    }
    for (name, entry), files in zip(found.items(), pairs.values(), strict=True):
        if entry["identical"] and [path.resolve() for path in files[0]] != [
            path.resolve() for path in files[1]
        ]:
            text = f"{escaped(name, limit=120)}: the very same predictions in {files[0][0]} and {files[1][0]}"
            warnings.append({"name": "W-SAME-PREDICTIONS", "text": text})
    for name, adjusted in holm({name: entry["p"] for name, entry in found.items()}).items():
        found[name]["p_holm"] = adjusted
        found[name]["verdict"] = verdict(found[name])
    return {"comparisons": found, "warnings": warnings}


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
    for name in [f"{scored}-{other}" for scored in runs for other in UNSCORED]:
        runs.pop(name, None)
    if not runs:
        raise PathError(
            f"no predictions at {path}",
            name="E-PATH",
            why="neither a file, nor a folder of NAME-seedN.conll files, nor the start of such names",
        )
    return runs


def _escaped_glob(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


@dataclass(frozen=True)
class _File:
    """One file of predictions: counts by sentence, and the digest of its predicted tags."""

    counts: Ints
    digest: str


def _compare(
    first: Sequence[Path], second: Sequence[Path], *, gold: Path | None, seed: int, comparisons: int
) -> dict[str, Any]:
    reference_path = gold or first[0]
    reference = read_tags(gold) if gold else read_predictions(first[0])[0]
    before, after = (
        [_file(path, reference_path, reference, with_gold=gold is None) for path in files]
        for files in (first, second)
    )
    counts = [[one.counts for one in side] for side in (before, after)]
    gap = difference(*counts, seed=seed)
    bound = dominance(*([f1_of(one) for one in side] for side in counts), seed=seed, comparisons=comparisons)
    return {
        "first": _side(before, seed),
        "second": _side(after, seed),
        "f1": gap.mean,
        "ci95": [gap.low, gap.high],
        "p": gap.p,
        "noise": gap.noise,
        **({} if bound is None else {"aso": bound}),
        "identical": [one.digest for one in before] == [one.digest for one in after],
        "sentences": len(reference),
    }


def _side(files: Sequence[_File], seed: int) -> dict[str, Any]:
    scores = [f1_of(one.counts) for one in files]
    spread = interval([one.counts for one in files], seed=seed)
    return {
        "f1_mean": spread.mean,
        "f1_std": statistics.stdev(scores) if len(scores) > 1 else 0.0,
        "f1": scores,
        "ci95": [spread.low, spread.high],
        "seeds": len(files),
    }


def _file(
    path: Path, reference_path: Path, reference: Sequence[LocatedSentence], *, with_gold: bool
) -> _File:
    """Raises DataError when the words, or with `with_gold` the gold tags, are not those of the reference."""
    if with_gold:
        gold, predicted = read_predictions(path)
        check_same_gold(reference_path, reference, path, gold)
    else:
        predicted = read_tags(path)
        check_same_words(reference_path, reference, path, predicted)
    tags = [one.tags for one in reference], [one.tags for one in predicted]
    counts = TagPair.of(*tags, scheme=schemes_of(*tags)).counts().by_sentence()
    text = "\n".join(" ".join(one) for one in tags[1])
    return _File(counts, hashlib.sha256(text.encode()).hexdigest())
