"""A saved tagger to tags of text: the tagger and its encoder are found, checked, loaded and put to work."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from extend import store
from extend.config import expand, load_settings
from extend.errors import CheckpointError, ExtendError, UsageError, escaped
from extend.hub import load_encoder, save_model
from extend.recipe.run import OnProgress, silent
from extend.types import Progress
from ner.saving import (
    TOKENIZER,
    SavedTagger,
    check_encoder,
    load_tagger,
    save_tagger,
    token_classifier,
)
from ner.tagging import (
    Account,
    EntityTagger,
    InputForm,
    OutputForm,
    Passage,
    Tagged,
    as_bytes,
    as_lines,
    as_record,
    check_forms,
    entity_tagger,
    is_record,
    read_passages,
)

STAGE = "ner-tag"
STDIN = "-"
_NEAR = ("model", "bilingual/model")
"""Where a run keeps encoders, beside the `ner` folder that its taggers lie in."""
RUN_FILE = "run.toml"
_TOLD_EVERY = 1.0


@dataclass(frozen=True)
class TaggerFolder:
    """A saved tagger and the folder of its encoder, both checked."""

    saved: SavedTagger
    encoder: Path

    def facts(self) -> dict[str, Any]:
        """What there is to tell of it, as JSON."""
        return {
            "tagger": str(self.saved.directory),
            "encoder": str(self.encoder),
            "labels": list(self.saved.head.settings.labels),
            "head": self.saved.head.settings.head,
            "about": {escaped(name): _shown(value) for name, value in self.saved.about.items()},
        }


def _shown(value: Any) -> Any:
    """What a tagger tells of itself comes from its file: text is escaped, and only plain values are told."""
    plain = value is None or isinstance(value, bool | int | float)
    return value if plain else escaped(str(value))


def find_tagger(directory: Path, encoder: Path | None = None) -> TaggerFolder:
    """The tagger in `directory` and its encoder: inside it, `encoder`, or that of the run it lies in.

    Raises:
        PathError, CheckpointError, RefusedError: see `ner.saving.load_tagger`; CheckpointError
        E-TAGGER-ENCODER also when the encoder is not here or is another one.
    """
    saved = load_tagger(directory)
    if encoder is not None:
        check_encoder(directory, saved.encoder_sha256, encoder)
        return TaggerFolder(saved, encoder)
    if saved.encoder is not None:
        return TaggerFolder(saved, saved.encoder)
    for folder in _encoders_near(directory.resolve()):
        if (folder / "config.json").is_file() and _is_encoder_of(saved, folder):
            return TaggerFolder(saved, folder)
    raise CheckpointError(
        f"the encoder of {directory} is not in it, nor in the run it lies in",
        name="E-TAGGER-ENCODER",
        why=f"it is {escaped(str(saved.about.get('encoder', 'one')), limit=40)} with weights of sha256 "
        f"{saved.encoder_sha256['weights'][:12]}",
        next="give the checkpoint folder that the tagger was trained with: --encoder FOLDER",
    )


def _encoders_near(tagger: Path) -> Iterator[Path]:
    """Where the encoders of the run are that `tagger` lies in; its base only when that is a folder."""
    for parent in (tagger, *tagger.parents[:5]):
        yield from (parent / name for name in _NEAR)
        if (parent / RUN_FILE).is_file():
            yield Path(expand(load_settings(None, saved=parent / RUN_FILE).base))


def _is_encoder_of(saved: SavedTagger, folder: Path) -> bool:
    try:
        check_encoder(saved.directory, saved.encoder_sha256, folder)
    except ExtendError:
        return False
    return True


def open_tagger(found: TaggerFolder, *, device: str | None = None) -> EntityTagger:
    """The tagger ready to tag, on `device` (default CUDA if there is one, else the CPU).

    Raises CheckpointError when the encoder cannot be loaded or its vectors do not fit the head.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    encoder = load_encoder(found.encoder).to(place)
    return entity_tagger(encoder, found.encoder, found.saved.head.to(place), found.saved.features)


@dataclass
class Tagging:
    """Files being tagged, passage by passage. Iterate once; `account` and `entities` grow meanwhile.

    Args:
        tagger: what tags.
        sources: files, or `-` for `stdin`.
        form: what the sources are; see `check_sources`.
    """

    tagger: EntityTagger
    sources: Sequence[str]
    form: InputForm
    stdin: BinaryIO
    on_progress: OnProgress = silent
    account: Account = field(default_factory=Account)
    entities: int = 0

    def __post_init__(self) -> None:
        self._begun = self._told = time.monotonic()

    def __iter__(self) -> Iterator[Tagged]:
        for tagged in self.tagger.tag(self._passages()):
            self.entities += len(tagged.entities)
            yield tagged
        self._tell(finished=True)

    def _passages(self) -> Iterator[Passage]:
        for source in self.sources:
            opened = self.stdin if source == STDIN else Path(source)
            for passage in read_passages(opened, self.form, self.account):
                self._tell()
                yield passage

    def _tell(self, *, finished: bool = False) -> None:
        now = time.monotonic()
        if not finished and now - self._told < _TOLD_EVERY:
            return
        self._told = now
        speed = self.account.words / max(now - self._begun, 1e-9)
        total = self.account.words if finished else 0
        text = f"{self.account.lines:,} lines"
        self.on_progress(
            Progress(STAGE, self.account.words, total, text, {"words_per_second": round(speed, 1)})
        )

    def facts(self) -> dict[str, Any]:
        """Lines, words and entities so far, seconds, and what to warn of."""
        seconds = time.monotonic() - self._begun
        warnings = []
        if self.account.replaced:
            text = f"{self.account.replaced:,} lines are not UTF-8: U+FFFD in the place of their bytes"
            warnings.append({"name": "W-UTF8", "text": f"{text}; the first is {self.account.first}"})
        return {
            "lines": self.account.lines,
            "words": self.account.words,
            "entities": self.entities,
            "seconds": round(seconds, 3),
            "words_per_second": round(self.account.words / max(seconds, 1e-9), 1),
            "warnings": warnings,
        }


def check_sources(sources: Sequence[str], form: str | None) -> InputForm:
    """What the sources are, when all of them are there. Raises UsageError, PathError; reads nothing."""
    wanted = check_forms(list(sources), InputForm(form) if form else None)
    for source in sources:
        if source != STDIN:
            try:
                Path(source).stat()
            except OSError as error:
                raise store.as_extend_error(error, Path(source)) from error
    return wanted


def passages(tagging: Iterable[Tagged]) -> Iterator[Tagged]:
    """The passages that are more than a mark between others."""
    return (tagged for tagged in tagging if is_record(tagged))


def records(tagging: Iterable[Tagged]) -> Iterator[dict[str, Any]]:
    """The `passages` as `--format json` prints them."""
    return map(as_record, passages(tagging))


def written(tagging: Iterable[Tagged], form: str) -> Iterator[bytes]:
    """The bytes of the tagged passages, as they come."""
    wanted = OutputForm(form)
    return (as_bytes(as_lines(tagged, wanted)) for tagged in tagging)


def write(tagging: Iterable[Tagged], form: str, path: Path) -> dict[str, Any]:
    """Write the tagged passages to a file, whole or not at all; its size and sha256."""
    done = store.write_chunks(path, written(tagging, form))
    return {"output": str(path), "bytes": done.size, "sha256": done.sha256}


def pack(found: TaggerFolder, target: Path) -> dict[str, Any]:
    """Write the tagger to `target` with its encoder inside: a folder that can go anywhere.

    Raises UsageError when `target` is there already, PathError or SpaceError when it cannot be written.
    """
    check_target(target)
    saved = found.saved
    save_tagger(
        target, saved.head, features=saved.features, encoder=found.encoder, inside=True, about=saved.about
    )
    return {"packed": str(target)}


def as_transformers(found: TaggerFolder, target: Path) -> dict[str, Any]:
    """Write the tagger to `target` as the token classifier of transformers; see `ner.saving`.

    Raises as `pack` does, and UsageError E-TAGGER-EXPORT when transformers cannot hold the tagger.
    """
    check_target(target)
    model = token_classifier(load_encoder(found.encoder), found.saved.head, found.saved.features)
    with store.publish_directory(target) as folder:
        save_model(model, folder)
        store.copy_files(found.encoder, folder, TOKENIZER)
    return {"exported": str(target), "architecture": type(model).__name__}


def check_target(target: Path | None) -> None:
    """Raises UsageError where a folder to be written is there already, and not empty."""
    if target is not None and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            f"{target} is there already", name="E-OUTPUT", next="name a folder that is not there yet"
        )
