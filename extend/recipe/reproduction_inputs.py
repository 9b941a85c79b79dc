"""What evaluating again needs, brought together before anything is computed: encoders, sets, text.

A file is known by its sha256, wherever it lies now and whatever it is called.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extend import store
from extend.config import RunSettings, expand
from extend.config.tables import NerData, NerSettings
from extend.corpus import corpus_sha256
from extend.errors import CheckpointError, ExtendError, PathError, escaped
from extend.hub import resolve_base
from extend.recipe.corpora import STREAMED, corpus_patterns, text_files
from extend.recipe.ner_files import is_streamed, ner_files
from extend.recipe.record import needed_files, settings_of, weight_sums
from extend.recipe.run import Run
from ner.files import NerFile

LARGEST = 1 << 30
"""Bytes of the largest file that is looked at when a set is searched for by its content."""

Sets = dict[str, dict[str, dict[str, NerFile]]]


@dataclass(frozen=True)
class Subject:
    """A checkpoint whose card is checked: its record and folder, and its run where that is at hand."""

    name: str
    commit: str | None
    record: Mapping[str, Any]
    model: Path
    run: Run | None


def encoders_at_hand(subject: Subject, base: str | None) -> dict[str, Path]:
    """Folders of the recorded encoders that are here, in the order of the record; the base must be.

    `base` is where it lies, by default where the run or the record says. Raises PathError for a base that is
    nowhere, CheckpointError E-BASE for one that is another than then.
    """
    own = {"base": _base_folder(subject, base), "extended": subject.model}
    run = subject.run
    if run is not None:
        own["bilingual"] = run.directory / "bilingual" / "model"
        for name, place in run.settings.ner.encoders.items():
            folder = Path(expand(place))
            own[name] = folder if folder.is_dir() else resolve_base(expand(place)).directory
    names = [*(name for stage in subject.record["ner"].values() for name in stage["encoders"])]
    names += list(subject.record["encoders"])
    return {name: own[name] for name in dict.fromkeys(names) if name in own and own[name].is_dir()}


def _base_folder(subject: Subject, given: str | None) -> Path:
    recorded = subject.record["base"]
    settings = subject.run.settings if subject.run is not None else None
    place = given or (settings.base if settings else recorded["name"])
    if given is None and settings is None and not recorded["revision"]:
        raise PathError(
            f"the base of {subject.name} is a folder of its maker, {escaped(recorded['name'])}",
            name="E-DATA-MISSING",
            why=f"sha256 of its weights: {_weights_sum(recorded)}",
            next="say where it is: --base FOLDER",
        )
    folder = resolve_base(place, revision=recorded["revision"] if given is None else None).directory
    _refuse_another_base(recorded, folder)
    return folder


def _weights_sum(recorded: Mapping[str, Any]) -> str:
    sums = recorded.get("sha256", {})
    return ", ".join(f"{name} {total}" for name, total in sums.items() if name.endswith("safetensors"))


def _refuse_another_base(recorded: Mapping[str, Any], folder: Path) -> None:
    wanted = recorded.get("sha256", {})
    if not wanted:
        return
    found = weight_sums(folder)
    changed = [name for name, total in wanted.items() if found.get(name) != total]
    if changed:
        raise CheckpointError(
            f"{folder} is not the base that the numbers were measured with",
            name="E-BASE",
            why=f"another sha256: {', '.join(map(escaped, changed[:5]))}",
            next="give the right one: --base FOLDER",
        )


def sets_at_hand(subject: Subject, data: Sequence[Path], scratch: Path) -> Sets:
    """By protocol, language and split the files that the scores were made with, found by their sha256.

    Looked for where the run has them, in `data` (files and folders), and on the hub, from which they are
    spooled below `scratch`. Raises PathError E-DATA-MISSING with the name and sha256 of every one that is
    nowhere.
    """
    found: Sets = {}
    missing: dict[str, str] = {}
    own, search = _own_files(subject), _Search(data)
    for protocol, language, split, entry in needed_files(subject.record):
        wanted = str(entry["sha256"])
        path = next(
            (place for place in own.get((language, split), ()) if _is(place, wanted)), None
        ) or search.by_sum(wanted, str(entry.get("file", "")))
        source = str(entry.get("source", ""))
        if path is None and is_streamed(source):
            spooled = _spooled(subject, language, split, source, scratch)
            path = spooled if _is(spooled, wanted) else None
        if path is None:
            missing[f"{language} {split} ({entry.get('file') or source or 'a file'})"] = wanted
            continue
        file = NerFile(path, format=entry.get("format", ""), label_map=entry.get("label_map", {}))
        found.setdefault(protocol, {}).setdefault(language, {})[split] = file
    if missing:
        listed = "; ".join(f"{escaped(name)} sha256 {total}" for name, total in missing.items())
        raise PathError(
            f"{len(missing)} of the sets that the numbers were measured on are not here: "
            + ", ".join(map(escaped, missing)),
            name="E-DATA-MISSING",
            why=listed,
            done="nothing was computed",
            next="say where they are: --data FOLDER",
        )
    return found


def _is(path: Path, wanted: str) -> bool:
    return path.is_file() and store.sha256_file(path) == wanted


def _own_files(subject: Subject) -> dict[tuple[str, str], list[Path]]:
    """Where the run's settings, and what it has spooled, say that a set lies."""
    run = subject.run
    if run is None:
        return {}
    places: dict[tuple[str, str], list[Path]] = {}
    for language, files in run.settings.ner.data.items():
        for split in ("train", "dev", "test"):
            source = getattr(files, split)
            if source and not is_streamed(source):
                places.setdefault((language, split), []).append(Path(expand(source)))
    spooled = sorted((run.directory / "corpus").glob("ner-*/sentences.jsonl"))
    for _, language, split, _ in needed_files(subject.record):
        places.setdefault((language, split), []).extend(spooled)
    return places


class _Search:
    """Files among given ones by their sha256; files of the right name are looked at first."""

    def __init__(self, places: Iterable[Path]) -> None:
        self._places = [Path(expand(str(place))) for place in places]
        for place in self._places:
            if not place.exists():
                raise PathError(f"there is no {place}", name="E-PATH", next="check --data")
        self._sums: dict[Path, str] = {}

    def by_sum(self, wanted: str, name: str) -> Path | None:
        files = sorted(set(self._files()), key=lambda path: (path.name != name, str(path)))
        for path in files:
            if path not in self._sums:
                self._sums[path] = store.sha256_file(path)
            if self._sums[path] == wanted:
                return path
        return None

    def _files(self) -> Iterator[Path]:
        for place in self._places:
            paths = place.rglob("*") if place.is_dir() else [place]
            yield from (path for path in paths if path.is_file() and path.stat().st_size <= LARGEST)


def _spooled(subject: Subject, language: str, split: str, source: str, scratch: Path) -> Path:
    """A set of a hub as a file below `scratch`, in the very bytes that an evaluation reads."""
    ner = NerSettings(data={language: NerData.model_validate({split: source})}, source=language)
    run = Run(scratch, RunSettings(ner=ner), _language(subject))
    return ner_files(run)[language][split].path


def _language(subject: Subject) -> Any:
    from extend.languages import resolve

    return resolve(str(subject.record["language"]))


def text_at_hand(subject: Subject, corpus: Sequence[str], scratch: Path) -> Run | None:
    """A run in `scratch` whose text is that of the record; None when that text is not here.

    `corpus` says where it is, by default the run's settings or, for a dataset, the record. Raises
    PathError E-DATA-MISSING when `corpus` is given and is other text.
    """
    recorded = subject.record["corpus"]
    patterns = list(corpus) or _recorded_text(subject)
    if not patterns or not recorded.get("sha256") or not subject.record["encoders"]:
        return None
    owner = subject.run or Run(scratch, settings_of(subject.record, patterns), _language(subject))
    try:
        files = text_files(owner, patterns)
        same = corpus_sha256(files) == recorded["sha256"]
    except ExtendError:
        if corpus:
            raise
        return None
    if not same and corpus:
        raise PathError(
            f"{', '.join(map(escaped, corpus))} is not the text that the numbers were measured on",
            name="E-DATA-MISSING",
            why=f"the sha256 of all its files together is to be {recorded['sha256']}",
            next="give all files of the corpus, as they were: --corpus FILE",
        )
    if not same:
        return None
    settings = settings_of(subject.record, [str(path.resolve()) for path in files])
    return Run(scratch, settings, _language(subject))


def _recorded_text(subject: Subject) -> list[str]:
    if subject.run is not None:
        return corpus_patterns(subject.run)
    sources = [str(source) for source in subject.record["corpus"]["sources"]]
    return sources if all(source.startswith(STREAMED) for source in sources) else []
