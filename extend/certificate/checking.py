"""The certificate of any folder: a run, a model, a tokenizer, whoever made it."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extend.certificate import comparisons
from extend.certificate.findings import Finding, finding
from extend.certificate.folder import RunFolder, TokenizerFolder, open_folder, open_run
from extend.certificate.probes import CASE_PROBE, PROBES, probes_for, sample_words
from extend.certificate.reload import Answer, Reading, read_folders
from extend.certificate.weights import (
    StoredTensors,
    has_bias,
    is_trained,
    old_row_findings,
    row_findings,
    tie_finding,
)
from extend.errors import CheckpointError, escaped
from extend.store import sha256_file

MOST_WORDS = 5000
_EVERYTHING = ("fast", "direct", "slow", "proto")


@dataclass(frozen=True)
class _Checked:
    """A folder, what it is compared with, and what a new process read of both (`was` of the base).

    The texts were the `probes`, then `words` made of the base's pieces, then `target` words of the new
    language.
    """

    folder: TokenizerFolder
    run: RunFolder | None
    base: TokenizerFolder | None
    answer: Answer
    was: Reading | None
    probes: Sequence[str]
    words: Sequence[str]
    target: Sequence[str]

    @property
    def texts(self) -> list[str]:
        return [*self.probes, *self.words, *self.target]

    @property
    def base_pieces(self) -> tuple[str, ...]:
        """Known of a base that AutoTokenizer cannot load, too; empty without a base."""
        if self.was:
            return self.was.pieces
        return self.base.pieces if self.base else ()

    @property
    def report(self) -> Mapping[str, Any]:
        return self.run.report if self.run else {}


def certify_folder(directory: Path, *, base: Path | None, texts: Sequence[str] = ()) -> dict[str, Any]:
    """Every assertion on a folder that may come from anyone, held, failed or not applicable.

    `directory` is a tokenizer or model folder, or a run folder, which stands for the last tokenizer made in
    it and knows its base when that is a folder. `base`, also a run, model or tokenizer folder, adds what can
    only be seen against it; `texts` are lines of the new language, for assertion 6 and as probes.

    Returns `directory`, `tokenizer` (the folder looked at), `base`, `model` (WordPiece, Unigram, ...),
    `pieces`, `added` (None without a base), `assertions` (a list of `number`, `name`, `holds`, `detail`, by
    number; `holds` is None where there is nothing to look at), `probes` (how many texts), `characters`
    (how many, and in which forms they have pieces) and `versions`. `raise_failed` raises for it.

    Raises PathError for what is missing, CheckpointError for what cannot be read, RefusedError for links
    out of the folder, code of its own, names of other files and files too large.
    """
    checked, versions = _read(directory, base, texts)
    fast = checked.answer.fast
    findings = list(_unloaded(checked) if fast is None else _findings(checked, fast))
    direct = checked.answer.direct or {}
    return {
        "directory": str(directory),
        "tokenizer": str(checked.folder.directory),
        "base": str(checked.base.directory) if checked.base else None,
        "model": direct.get("model"),
        "pieces": fast.size if fast else None,
        "added": fast.size - len(checked.base_pieces) if fast and checked.base_pieces else None,
        "assertions": [entry.as_json() for entry in sorted(findings, key=lambda entry: entry.number)],
        "probes": len(checked.probes),
        "characters": comparisons.character_counts(fast, direct.get("inside")) if fast else None,
        "versions": versions,
    }


def _read(directory: Path, base: Path | None, texts: Sequence[str]) -> tuple[_Checked, dict[str, str]]:
    run = open_run(directory)
    folder = open_folder(run.folders[-1] if run else directory)
    base = base if base is not None or run is None else run.base
    base_run = open_run(base) if base else None
    base_folder = open_folder(base_run.folders[-1] if base_run else base) if base else None
    probes = probes_for(folder.pieces, special=folder.added, texts=texts)
    comparable = base_folder is not None and base_folder.says_case
    words = sample_words(base_folder.pieces) if base_folder and comparable else []
    target = [word for text in texts for word in text.split()][:MOST_WORDS] if comparable else []
    with tempfile.TemporaryDirectory(prefix="extend-") as temporary:
        copies: dict[Path, Sequence[str]] = {folder.copy_to(Path(temporary, "folder")): _EVERYTHING}
        if base_folder:
            copies[base_folder.copy_to(Path(temporary, "base"))] = ("fast",)
        answers, versions = read_folders(copies, [*probes, *words, *target], case=CASE_PROBE)
    copy = next(iter(copies)).resolve()
    answer = answers[0].naming(folder.directory, copy)
    if "direct" in answer.errors:
        raise CheckpointError(
            f"cannot read {folder.directory / 'tokenizer.json'}",
            name="E-TOKENIZER",
            why=answer.errors["direct"],
        )
    was = answers[1].fast if base_folder else None
    return _Checked(folder, run, base_folder, answer, was, probes, words, target), versions


def _unloaded(checked: _Checked) -> Iterator[Finding]:
    yield finding(4, False, f"AutoTokenizer cannot load it: {checked.answer.errors['fast']}")
    for number in (1, 2, 3, 5, 6, 7, 8):
        yield finding(number, None, "the tokenizer was not loaded")


def _findings(checked: _Checked, found: Reading) -> Iterator[Finding]:
    yield comparisons.contiguous(found)
    yield comparisons.vocabulary_file(checked.folder.vocabulary, found)
    yield from _against_base(checked, found)
    yield from comparisons.written_elsewhere(checked.answer, checked.texts)
    if checked.run:
        yield from _of_run(checked.run, found)
    yield from _of_model(checked, found)
    yield _held_out(checked, found)
    yield _drift(checked, found)


def _against_base(checked: _Checked, found: Reading) -> Iterator[Finding]:
    was, base, pieces = checked.was, checked.base, checked.base_pieces
    if pieces:
        yield comparisons.pieces_stand(found, pieces, name="ids of the base", exactly=False)
    else:
        yield finding(1, None, "no base whose pieces are known", name="ids of the base")
    if was is None:
        yield comparisons.special_sound(found)
        yield comparisons.added_inside(found)
    else:
        yield comparisons.special_stand(found, was.special)
        yield comparisons.added_stand(found, was.added)
    if was and base and base.says_case:
        yield comparisons.same_case(found, was.normal)
    else:
        yield finding(7, None, "needs a base that AutoTokenizer can load and that says its case")


def _of_run(run: RunFolder, found: Reading) -> Iterator[Finding]:
    size = run.report.get("base_size")
    if isinstance(size, int):
        same = found.pieces[size:] == run.added
        told = f"the pieces after id {size - 1} are {'' if same else 'not '}those of added.txt"
        yield finding(1, same, told, name="added.txt")
    sums = {folder.name: sha256_file(folder / "tokenizer.json") for folder in run.folders}
    same = len(set(sums.values())) == 1
    told = f"{', '.join(sums)} have {'one tokenizer.json' if same else 'not the same tokenizer.json'}"
    yield finding(4, same, told, name="one tokenizer")


def _of_model(checked: _Checked, found: Reading) -> Iterator[Finding]:
    folder, base = checked.folder, checked.base
    size = folder.config.get("vocab_size")
    if size is None:
        yield finding(1, None, "no config.json with a vocab_size", name="config.json")
    else:
        told = f"vocab_size is {escaped(str(size))} in config.json, the tokenizer has {found.size} pieces"
        yield finding(1, size == found.size, told, name="config.json")
    if not folder.weights:
        told = "the weights are a pickle, which is not read" if folder.pickled else "no weights in the folder"
        yield finding(1, None, told, name="rows")
        yield finding(5, None, told)
        return
    model = StoredTensors(*folder.weights)
    yield from row_findings(model, size=found.size, head=False, bias=has_bias(folder.config))
    yield tie_finding(model, folder.config)
    if base is None or not base.weights or not checked.base_pieces:
        yield finding(5, None, "the base has no weights here" if base else "no base to compare with")
        return
    grown, before = _grown(checked, model), StoredTensors(*base.weights)
    trained = grown is model and is_trained(model, before)
    yield from old_row_findings(grown, before, old=len(checked.base_pieces), trained=trained)


def _grown(checked: _Checked, model: StoredTensors) -> StoredTensors:
    """The weights before they were trained, when the run still has them."""
    folders = checked.run.folders if checked.run else ()
    grown = next((folder for folder in folders if folder.name == "grown"), None)
    weights = open_folder(grown).weights if grown and grown != checked.folder.directory else ()
    return StoredTensors(*weights) if weights else model


@contextlib.contextmanager
def _of_report(checked: _Checked) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        place = checked.run.directory if checked.run else checked.folder.directory
        raise CheckpointError(
            f"{place / 'vocab' / 'report.json'} does not hold what was measured",
            name="E-JSON",
            why=escaped(repr(error)),
        ) from error


def _held_out(checked: _Checked, found: Reading) -> Finding:
    if "held_out" in checked.report:
        measured = checked.report["held_out"]
        with _of_report(checked):
            return comparisons.spelt_better(measured["base"], measured["extended"])
    if checked.was is None or not checked.target:
        return finding(6, None, "needs a base and text of the new language, or the report of a run")
    start = len(checked.probes) + len(checked.words)
    return comparisons.spelt_better(_measured(checked.was, start), _measured(found, start))


def _measured(reading: Reading, start: int) -> dict[str, float]:
    """Share of unknown words and pieces a word, over the texts from `start` on, each of them one word."""
    unknown = reading.special.get("unk")
    around = len(reading.ids[PROBES.index("")])
    words = reading.ids[start:]
    return {
        "unk_rate": sum(unknown is not None and unknown[1] in ids for ids in words) / len(words),
        "fertility": sum(len(ids) - around for ids in words) / len(words),
    }


def _drift(checked: _Checked, found: Reading) -> Finding:
    if "drift" in checked.report:
        with _of_report(checked):
            return comparisons.drift_measured(checked.report["drift"])
    was, first = checked.was, len(checked.probes)
    if was is None or not checked.words:
        return finding(8, None, "needs a base that says its case, or the report of a run")
    unknown = was.special.get("unk")
    lost = unknown[1] if unknown else None
    pairs = list(zip(was.ids, found.ids, strict=True))[first : first + len(checked.words)]
    return comparisons.drift_measured(
        {
            "sample": len(pairs),
            "words_changed": sum(before != after for before, after in pairs) / len(pairs),
            "words_newly_unk": sum(lost in after and lost not in before for before, after in pairs)
            / len(pairs),
        }
    )
