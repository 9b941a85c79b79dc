"""One encoder under evaluation: its tokenizer, its vectors, and its weights when they are needed."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from ner.cache import FeatureCache, checkpoint_facts
from ner.features import (
    FeatureSettings,
    LiveFeatures,
    WordFeatures,
    WordPieces,
    feature_chunks,
    layer_count,
    word_features,
)
from ner.tags import TaggedSentence
from ner.train import LabelledFeatures

Loader = Callable[[Path], nn.Module]


class Encoder:
    """A checkpoint folder. Its weights are loaded when vectors are asked for that no cache holds.

    Args:
        load: reads the weights. settings: what is read for a word. device: where it runs.
        cache: keeps vectors on disk; None keeps none.
    """

    def __init__(
        self,
        directory: Path,
        load: Loader,
        *,
        settings: FeatureSettings,
        device: torch.device,
        cache: FeatureCache | None,
    ) -> None:
        self.pieces = WordPieces(directory, wordpiece_only=settings.wordpiece_only)
        self._directory, self._load, self._settings = directory, load, settings
        self._device, self._cache = device, cache

    @cached_property
    def model(self) -> nn.Module:
        return self._load(self._directory).eval().to(self._device)

    @cached_property
    def facts(self) -> dict[str, object]:
        """All that its vectors follow from but the words."""
        return {
            "encoder": checkpoint_facts(self._directory),
            "settings": {**asdict(self._settings), "wordpiece_only": self.pieces.wordpiece_only},
            "device": self._device.type,
        }

    def trainable(self) -> nn.Module:
        """A copy of the model, for one seed to change."""
        return copy.deepcopy(self.model)

    @property
    def vector_size(self) -> tuple[int, int]:
        """Size of a vector, and how many of them a word has to be mixed (0 when it has one)."""
        size = int(self.model.config.hidden_size)  # type: ignore[union-attr, arg-type]
        return size, layer_count(self.model) if self._settings.layers == "mix" else 0

    def features(self, sentences: Sequence[TaggedSentence]) -> WordFeatures:
        """Vectors of every word without dropout, from the cache where they are there."""
        words = [sentence.words for sentence in sentences]
        if self._cache is None:
            return word_features(self.model, self.pieces, words, settings=self._settings)
        return self._cache.features(
            self.facts, words, lambda: feature_chunks(self.model, self.pieces, words, self._settings)
        )

    def labelled(self, sentences: Sequence[TaggedSentence]) -> LabelledFeatures:
        """As `features`, with the tags."""
        return LabelledFeatures(self.features(sentences), tuple(one.tags for one in sentences))

    def live(
        self, sentences: Sequence[TaggedSentence], model: nn.Module, *, dropout: bool, gradients: bool
    ) -> LabelledFeatures:
        """Vectors by `model` computed anew for every batch, with the tags."""
        features = LiveFeatures(
            model,
            self.pieces,
            [sentence.words for sentence in sentences],
            settings=self._settings,
            dropout=dropout,
            gradients=gradients,
        )
        return LabelledFeatures(features, tuple(one.tags for one in sentences))
