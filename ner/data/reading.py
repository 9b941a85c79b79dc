"""A file of tagged words to sentences in IOB2: scheme found, labels mapped, illegal tags repaired."""

import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from extend.errors import DataError, UsageError, escaped
from extend.store import sha256_file
from ner.data.formats import reader_of, recognised
from ner.data.sentences import LocatedSentence
from ner.files import NerFile
from ner.tags import (
    LABEL,
    OUTSIDE,
    MixedSchemesError,
    Scheme,
    SchemeDetector,
    Span,
    TaggedSentence,
    illegal_transitions,
    keep_labels,
    spans_of,
    split_tag,
    tags_of,
)

Tags = tuple[str, ...]


@dataclass(frozen=True)
class NerData:
    """A set that was read: IOB2 sentences and what reading them found.

    Attributes:
        scheme: the scheme of the file.
        repaired: illegal tags, which were mended as conlleval does (see `ner.tags.spans_of`).
        sha256: of the file as it lies on disk.
        format, compression: what the file is, a key of `DATASETS` and `.gz`, `.zst`, `.xz` or none.
        found: entities in the file by type, before labels were mapped or left out.
        label_map: what types were renamed to, by the name in the file; `O` for left out.
    """

    path: Path
    sentences: tuple[TaggedSentence, ...]
    scheme: Scheme
    repaired: int
    sha256: str
    format: str = "conll"
    compression: str = ""
    found: Mapping[str, int] = field(default_factory=dict)
    label_map: Mapping[str, str] = field(default_factory=dict)

    @property
    def types(self) -> tuple[str, ...]:
        """The entity types in the file by their new names, those left out by `keep` among them."""
        renamed = {self.label_map.get(label, label) for label in self.found}
        return tuple(sorted(renamed - {OUTSIDE}))

    @property
    def labels(self) -> tuple[str, ...]:
        tags = {tag for sentence in self.sentences for tag in sentence.tags}
        return tuple(sorted({split_tag(tag)[1] for tag in tags} - {""}))

    @property
    def words(self) -> int:
        return sum(len(sentence.words) for sentence in self.sentences)

    @property
    def entities(self) -> int:
        return sum(tag[0] == "B" for sentence in self.sentences for tag in sentence.tags)


def read_data(path: Path | NerFile, *, format: str | None = None, keep: Collection[str] = ()) -> NerData:
    """Read one NER file into IOB2.

    Args:
        path: the file, also compressed (.gz, .zst, .xz), with its format and label map where it is a NerFile.
        format: how to read it (see `NerFile.format`); by default as its content shows.
        keep: the entity types kept, of those that the label map gives; empty keeps all.

    Raises:
        PathError: the file cannot be read. DataError: a line is not what the format says, there is no
        sentence, or two schemes are mixed. UsageError: no such format, or no such name of a type.
        RefusedError: a compressed file that grows without end.
    """
    file = NerFile.of(path)
    check_label_map(file.label_map)
    wanted = format or file.format
    reader = reader_of(wanted) if wanted else None
    shown, compression = recognised(file.path)
    kind = wanted or shown
    located = (reader or reader_of(kind))(file.path)
    gathered = _Gathered(file.path)
    for sentence in located:
        gathered.add(sentence)
    if not gathered.sentences:
        raise DataError(
            f"{file.path} has no sentence", name="E-NER-EMPTY", next="give a file of lines `word<TAB>tag`"
        )
    scheme = gathered.scheme()
    converted = gathered.in_iob2(scheme, file.label_map, keep)
    return NerData(
        path=file.path,
        sentences=converted.sentences,
        scheme=scheme,
        repaired=converted.repaired,
        sha256=sha256_file(file.path),
        format=kind,
        compression=compression,
        found=converted.found,
        label_map=dict(file.label_map),
    )


def check_label_map(label_map: Mapping[str, str]) -> None:
    """Raises UsageError E-NER-MAP for a name that no entity type can have."""
    for old, new in label_map.items():
        for name in (old, new):
            if not LABEL.fullmatch(name):
                raise UsageError(
                    f"{escaped(name)} is not the name of an entity type",
                    name="E-NER-MAP",
                    why="letters, digits, _ . - only, at most 64",
                    next="for example --map GPE=LOC, or --map OTH=O for none",
                )


@dataclass
class _Gathered:
    """Sentences as they were read: equal words and equal rows of tags are kept once."""

    path: Path
    sentences: list[tuple[tuple[str, ...], Tags]] = field(default_factory=list)
    _rows: dict[Tags, int] = field(default_factory=dict)
    _same: dict[Tags, Tags] = field(default_factory=dict)
    _detector: SchemeDetector = field(default_factory=SchemeDetector)
    _first: dict[str, int] = field(default_factory=dict)

    def add(self, sentence: LocatedSentence) -> None:
        tags = self._same.get(sentence.tags)
        if tags is None:
            tags = self._same[sentence.tags] = tuple(map(sys.intern, sentence.tags))
            self._detector.see(tags)
            for mark in {tag[0] for tag in tags} - self._first.keys():
                self._first[mark] = next(
                    line for tag, line in zip(tags, sentence.lines, strict=True) if tag[0] == mark
                )
        self._rows[tags] = self._rows.get(tags, 0) + 1
        self.sentences.append((tuple(map(sys.intern, sentence.words)), tags))

    def scheme(self) -> Scheme:
        """Raises DataError E-NER-SCHEME with the line of the later of two marks that exclude each other."""
        try:
            return self._detector.scheme()
        except MixedSchemesError as error:
            early, late = sorted(error.marks, key=self._first.__getitem__)
            raise DataError(
                f"{self.path}:{self._first[late]}: {error}",
                name="E-NER-SCHEME",
                why=f"{late}- stands there, {early}- in line {self._first[early]}",
                next="convert the file to IOB2",
            ) from error

    def in_iob2(self, scheme: Scheme, label_map: Mapping[str, str], keep: Collection[str]) -> "_Converted":
        made: dict[Tags, Tags] = {}
        found: Counter[str] = Counter()
        repaired = 0
        for tags, count in self._rows.items():
            illegal = illegal_transitions(tags, scheme=scheme)
            repaired += count * illegal
            if scheme is Scheme.IOB2 and not (illegal or label_map or keep):
                made[tags] = tags
                labels = [tag[2:] for tag in tags if tag[0] == "B"]
            else:
                spans = spans_of(tags, scheme=scheme)
                labels = [span.label for span in spans]
                spelled = tags_of(mapped(spans, label_map), len(tags))
                made[tags] = tuple(map(sys.intern, keep_labels(spelled, keep)))
            for label in labels:
                found[label] += count
        sentences = tuple(TaggedSentence(words, made[tags]) for words, tags in self.sentences)
        return _Converted(sentences, repaired, dict(sorted(found.items())))


class _Converted(NamedTuple):
    """IOB2 sentences, the number of illegal tags there were, and the entities by the file's own types."""

    sentences: tuple[TaggedSentence, ...]
    repaired: int
    found: dict[str, int]


def mapped(spans: Collection[Span], label_map: Mapping[str, str]) -> Sequence[Span]:
    """Spans with their types renamed, once: A to B and B to C makes no C of an A. `O` leaves them out."""
    renamed = [Span(span.start, span.end, label_map.get(span.label, span.label)) for span in spans]
    return [span for span in renamed if span.label != OUTSIDE]
