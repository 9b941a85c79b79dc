"""What initialisers and bias rules need beside the base: made from the run's files, handed over as tensors.

A newcomer's need is a property here with the name of its field, and a line in FILES when it takes a file.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from extend import store
from extend.blocks import Stream, open_stream, write_stream
from extend.config import expand
from extend.errors import DataError, escaped
from extend.hub import load_encoder, resolve_base
from extend.recipe.corpora import corpus_patterns, split_corpus
from extend.recipe.data import encoded_lines
from extend.recipe.piece_words import cases, class_of, lowered, piece_rows, read_words, subwords_of
from extend.recipe.run import OnProgress, Run
from extend.tokenizer import (
    encode_words,
    kind_of,
    load_tokenizer,
    special_ids,
    tokenizer_settings,
    word_splitter,
)
from extend.types import Segmentation, Subword
from extend.vectors import (
    Cbow,
    PieceVectors,
    WordVectors,
    cached_vectors,
    read_dictionary,
    train_piece_vectors,
    vectors_key,
)

FILES: Mapping[str, tuple[str, ...]] = {
    "base_vectors": ("base_vectors",),
    "word_pairs": ("vectors", "base_vectors", "dictionary"),
    "translations": ("dictionary",),
    "helper": ("helper",),
}
"""By need: the settings of `grow` without which it cannot be made."""

OPTIONAL: Mapping[str, tuple[str, ...]] = {"vectors": ("vectors",)}
"""By need: the settings that are used when given."""


@dataclass(frozen=True)
class RowInputs:
    """The run's vocabulary, and every need by its name. Each is made when it is asked for, and once.

    `first_new` is the first id of the added pieces, and the number of the base's.
    """

    run: Run
    base: Tokenizer
    extended: Tokenizer
    first_new: int
    on_progress: OnProgress

    def of(self, needs: Collection[str]) -> dict[str, Any]:
        """The needs by name, to be given to a constructor."""
        return {need: getattr(self, need) for need in sorted(needs)}

    @cached_property
    def vectors(self) -> Tensor:
        """(base + added, dimension): of grow.vectors, else trained on the run's corpus."""
        if self.run.settings.grow.vectors is None:
            return torch.from_numpy(self._trained().vectors)
        return piece_rows(self._path("vectors"), self._new_words, self.subwords)

    @cached_property
    def base_vectors(self) -> Tensor:
        """(base, dimension) of grow.base_vectors, in their own space."""
        return piece_rows(self._path("base_vectors"), self._base_words, self.subwords[: self.first_new])

    @cached_property
    def word_pairs(self) -> tuple[Tensor, Tensor]:
        """Vectors of the dictionary's words, (base side, new side), a pair a row.

        Raises DataError when no pair has vectors on both sides.
        """
        new = self._new_words.of([cases(word) for word, _ in self._dictionary])
        old = self._base_words.of([cases(word) for _, word in self._dictionary])
        both = new.any(axis=1) & old.any(axis=1)
        if not both.any():
            raise DataError(
                f"{escaped(str(self._path('dictionary')))}: no pair has vectors on both sides",
                name="E-DICTIONARY",
                why="the first word of a line is of the new language, the second of the base's",
            )
        return torch.from_numpy(old[both]), torch.from_numpy(new[both])

    @cached_property
    def translations(self) -> tuple[tuple[Segmentation, ...], ...]:
        """The translations of each new piece that is a word of the dictionary, as it is or in lower case."""
        by_word: dict[str, list[str]] = {}
        for word, translation in self._dictionary:
            by_word.setdefault(word, []).append(translation)
        split = word_splitter(self.base)

        def spelled(text: str) -> Segmentation:
            return tuple(index for ids in encode_words(self.base, split(text)) for index in ids)

        found = []
        for subword in self.subwords[self.first_new :]:
            text = subword.text if subword and not subword.continues else ""
            found.append(tuple(map(spelled, by_word.get(text) or by_word.get(text.lower()) or [])))
        return tuple(found)

    @cached_property
    def helper(self) -> Tensor:
        """(base + added, width): the input rows of grow.helper, zeros where it lacks a piece.

        Pieces are the same when their text and their place in the word are, whatever the tokenizer's kind.
        """
        folder = resolve_base(str(self.run.settings.grow.helper)).directory
        rows = load_encoder(folder).get_input_embeddings().weight.detach()
        places = {one: index for index, one in enumerate(subwords_of(load_tokenizer(folder))) if one}
        found = torch.zeros(len(self.subwords), rows.shape[1])
        for index, subword in enumerate(self.subwords):
            place = places.get(subword, len(rows)) if subword else len(rows)
            if place < len(rows):
                found[index] = rows[place]
        return found

    @cached_property
    def twins(self) -> tuple[int, ...]:
        """For each new piece the first base piece that differs from it in case alone, or -1."""
        first: dict[Subword, int] = {}
        for index, subword in enumerate(self.subwords[: self.first_new]):
            if subword:
                first.setdefault(lowered(subword), index)
        return tuple(first.get(lowered(one), -1) if one else -1 for one in self.subwords[self.first_new :])

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The script and word position of every piece; empty for special and scriptless ones."""
        return tuple(class_of(subword) if subword else "" for subword in self.subwords)

    @cached_property
    def counts(self) -> Tensor:
        """(base + added,): how often the run's corpus has each piece."""
        counts = np.zeros(len(self.subwords), dtype=np.int64)
        for ids in _lines(self._stream):
            np.add.at(counts, ids, 1)
        return torch.from_numpy(counts)

    @cached_property
    def subwords(self) -> list[Subword | None]:
        """Every piece of the extended vocabulary without its spelling; None for what is no part of a word."""
        return subwords_of(self.extended)

    def clear(self) -> None:
        """Remove the tokenised text; trained vectors stay."""
        store.remove_directories([self._text])

    @property
    def _folder(self) -> Path:
        return self.run.directory / "vectors"

    @property
    def _text(self) -> Path:
        return self._folder / "text"

    @cached_property
    def _stream(self) -> Stream:
        corpus = split_corpus(self.run, self.run.language.code, corpus_patterns(self.run))
        special = special_ids(self.extended, tokenizer_settings(self.run.vocabulary / "tokenizer"))
        write_stream(self._text, encoded_lines(self.extended, corpus.training()), special=special)
        return open_stream(self._text, self.run.language.code)

    @cached_property
    def _dictionary(self) -> list[tuple[str, str]]:
        return read_dictionary(self._path("dictionary"))

    @cached_property
    def _new_words(self) -> WordVectors:
        wanted = {text for word, _ in self._asked_pairs() for text in cases(word)}
        return read_words(self._path("vectors"), wanted, self.subwords)

    @cached_property
    def _base_words(self) -> WordVectors:
        wanted = {text for _, word in self._asked_pairs() for text in cases(word)}
        dimension = self._new_words.vectors.shape[1]
        old = self.subwords[: self.first_new]
        return read_words(self._path("base_vectors"), wanted, old, dimension=dimension)

    def _asked_pairs(self) -> list[tuple[str, str]]:
        return self._dictionary if self.run.settings.grow.dictionary else []

    def _path(self, setting: str) -> Path:
        return Path(expand(getattr(self.run.settings.grow, setting)))

    def _trained(self) -> PieceVectors:
        cbow, settings = Cbow(), self.run.settings
        text = {
            "corpus": store.read_json(self.run.vocabulary / "report.json")["corpus"]["sha256"],
            "seed": settings.seed,
            "held_out": [settings.vocab.held_out_share, settings.vocab.held_out_lines],
            "reading": settings.reading.model_dump(),
        }
        key = vectors_key(
            corpus=hashlib.sha256(json.dumps(text, sort_keys=True).encode()).hexdigest(),
            tokenizer=store.sha256_file(self.run.vocabulary / "tokenizer" / "tokenizer.json"),
            first_new=self.first_new,
            seed=settings.seed,
            cbow=cbow,
        )
        store.recover(self._folder)
        return cached_vectors(self._folder, key, lambda: self._train(cbow))

    def _train(self, cbow: Cbow) -> PieceVectors:
        return train_piece_vectors(
            _Lines(self._stream),
            pieces=kind_of(self.extended).vocabulary(self.extended).pieces,
            first_new=self.first_new,
            seed=self.run.settings.seed,
            cbow=cbow,
            on_progress=self.on_progress,
        )


@dataclass(frozen=True)
class _Lines:
    """A stream's lines as often as they are asked for."""

    stream: Stream

    def __iter__(self) -> Iterator[list[int]]:
        return (ids.tolist() for ids in _lines(self.stream))


def _lines(stream: Stream) -> Iterator[Any]:
    """The ids of each line without the end token."""
    for begin, end in zip(stream.lines[:-1], stream.lines[1:], strict=True):
        yield stream.ids[begin : end - 1]
