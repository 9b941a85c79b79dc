"""Vectors of words: computed once and kept, or anew for every batch.

As in EXTEND (Wang et al. 2020) a word is the vector of its first piece by default. Kept vectors are computed
without dropout; in AllenNLP 0.9, which EXTEND used, the frozen encoder dropped out while heads were trained:
`LiveFeatures` can do that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from extend.errors import UsageError
from ner.features.pieces import WordPieces
from ner.features.settings import FeatureSettings
from ner.features.windows import Window, batches_of, padded, places_of, windows_of

MAX_WINDOW = 512
TOKENS_ON_A_PROCESSOR, TOKENS_ELSEWHERE = 512, 8192
"""Pieces a batch: on a processor as many as its caches hold the activations of."""
SENTENCES_A_CHUNK = 2048
"""Sentences encoded together: what bounds memory, and what batches are made of."""

_HAVE_PADDING_POSITIONS = {"roberta", "xlm-roberta", "camembert"}

Batch = tuple[Tensor, Tensor]
"""Vectors of some sentences, padded (sentences x words x [layers x] size), and their lengths on the CPU."""


class VectorSource(Protocol):
    """Sentences whose words have vectors."""

    def __len__(self) -> int: ...

    def length(self, sentence: int) -> int:
        """Words of a sentence."""
        ...

    def batch(self, sentences: Sequence[int], place: torch.device) -> Batch:
        """The vectors of some sentences, on `place`."""
        ...


@dataclass(frozen=True)
class WordFeatures:
    """A vector a word (or one a layer), sentence after sentence, of which `i` has `offsets[i]` to `[i + 1]`.

    `vectors` is words x size, or words x layers x size, and may be mapped from a file.
    """

    vectors: Tensor
    offsets: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def length(self, sentence: int) -> int:
        return self.offsets[sentence + 1] - self.offsets[sentence]

    def sentence(self, index: int) -> Tensor:
        return self.vectors[self.offsets[index] : self.offsets[index + 1]]

    def batch(self, sentences: Sequence[int], place: torch.device) -> Batch:
        vectors = pad_sequence([self.sentence(index) for index in sentences], batch_first=True)
        return vectors.to(place).float(), torch.tensor([self.length(index) for index in sentences])


class LiveFeatures:
    """Vectors computed anew whenever a batch is asked for.

    Args:
        encoder: on the device it shall run on.
        words, sentences, settings: as for `word_features`.
        dropout: run the encoder as in training. gradients: let them flow into the encoder.
    """

    def __init__(
        self,
        encoder: nn.Module,
        words: WordPieces,
        sentences: Sequence[Sequence[str]],
        *,
        settings: FeatureSettings,
        dropout: bool = False,
        gradients: bool = False,
    ) -> None:
        self.encoder = encoder
        self.dropout = dropout
        self.gradients = gradients
        self._words = words
        self._settings = settings
        self._lengths = [len(sentence) for sentence in sentences]
        capacity = _capacity(encoder, words, settings)
        self._windows = [list(windows_of(cut, 0, capacity)) for cut in words.cut(sentences)]

    def __len__(self) -> int:
        return len(self._lengths)

    def length(self, sentence: int) -> int:
        return self._lengths[sentence]

    def batch(self, sentences: Sequence[int], place: torch.device) -> Batch:
        self.encoder.train(self.dropout)
        windows, offset = list[Window](), 0
        for index in sentences:
            for window in self._windows[index]:
                rows = tuple(offset + row for row in window.rows)
                windows.append(Window(window.pieces, rows, window.firsts, window.sizes))
            offset += self._lengths[index]
        found, targets = list[Tensor](), list[Tensor]()
        with torch.set_grad_enabled(self.gradients and torch.is_grad_enabled()):
            for some in batches_of(windows, tokens_that_fit(self.encoder)):
                vectors, target = _encoded(self.encoder, self._words, some, self._settings)
                found.append(vectors)
                targets.append(target)
            order = torch.cat(targets).argsort().to(found[0].device)
            ordered = torch.cat(found)[order].to(place).float()
            lengths = [self._lengths[index] for index in sentences]
            return pad_sequence(list(ordered.split(lengths)), batch_first=True), torch.tensor(lengths)


def word_features(
    encoder: nn.Module,
    words: WordPieces,
    sentences: Sequence[Sequence[str]],
    *,
    settings: FeatureSettings | None = None,
    tokens_a_batch: int | None = None,
) -> WordFeatures:
    """The vectors of every word, on the CPU, without dropout.

    Args:
        encoder: a transformers encoder, on the device it shall run on.
        settings: what is read of it; default the last layer at the first piece.
        tokens_a_batch: bounds memory; results do not depend on it but for rounding. Default: what is fast on
            the encoder's device.

    Raises UsageError when a value does not fit `settings.precision`.
    """
    chosen = settings or FeatureSettings()
    chunks = list(feature_chunks(encoder, words, sentences, chosen, tokens_a_batch=tokens_a_batch))
    vectors = torch.cat(chunks) if chunks else torch.empty(0, 0)
    return WordFeatures(vectors, word_offsets(sentences))


def word_offsets(sentences: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """The row each sentence begins at, and the number of rows."""
    offsets = [0]
    for sentence in sentences:
        offsets.append(offsets[-1] + len(sentence))
    return tuple(offsets)


def feature_chunks(
    encoder: nn.Module,
    words: WordPieces,
    sentences: Sequence[Sequence[str]],
    settings: FeatureSettings,
    *,
    tokens_a_batch: int | None = None,
) -> Iterator[Tensor]:
    """The vectors of `word_features` piece by piece, in order, so that they need not fit in memory."""
    capacity = _capacity(encoder, words, settings)
    dtype = torch.float16 if settings.precision == "float16" else torch.float32
    encoder.eval()
    for begin in range(0, len(sentences), SENTENCES_A_CHUNK):
        chunk = sentences[begin : begin + SENTENCES_A_CHUNK]
        offsets = word_offsets(chunk)
        windows = [
            window
            for offset, cut in zip(offsets, words.cut(chunk), strict=False)
            for window in windows_of(cut, offset, capacity)
        ]
        kept: Tensor | None = None
        for batch in batches_of(windows, tokens_a_batch or tokens_that_fit(encoder)):
            with torch.no_grad():
                vectors, target = _encoded(encoder, words, batch, settings)
            if kept is None:
                kept = torch.empty(offsets[-1], *vectors.shape[1:], dtype=dtype)
            kept[target] = _kept(vectors, dtype)
        if kept is not None:
            yield kept


def tokens_that_fit(encoder: nn.Module) -> int:
    """How many padded pieces the encoder's device reads fastest at once."""
    on_a_processor = next(encoder.parameters()).device.type == "cpu"
    return TOKENS_ON_A_PROCESSOR if on_a_processor else TOKENS_ELSEWHERE


def layer_count(encoder: nn.Module) -> int:
    """How many layers of the encoder can be mixed."""
    config: Any = encoder.config
    return int(config.num_hidden_layers)


def _kept(vectors: Tensor, dtype: torch.dtype) -> Tensor:
    kept = vectors.to("cpu", dtype)
    if dtype is torch.float16 and not bool(kept.isfinite().all()):
        raise UsageError(
            "vectors of this encoder do not fit into float16",
            name="E-NER-PRECISION",
            next="set ner.precision to float32",
        )
    return kept


def _capacity(encoder: nn.Module, words: WordPieces, settings: FeatureSettings) -> int:
    config: Any = encoder.config
    limit = int(getattr(config, "max_position_embeddings", 0) or MAX_WINDOW)
    if getattr(config, "model_type", "") in _HAVE_PADDING_POSITIONS:
        limit -= 2  # their positions start after the padding id
    size = settings.window or min(limit, MAX_WINDOW)
    return size - len(words.before) - len(words.after)


def _encoded(
    encoder: nn.Module, words: WordPieces, batch: Sequence[Window], settings: FeatureSettings
) -> tuple[Tensor, Tensor]:
    """The vectors of the words kept from a batch of windows, and the rows they belong to."""
    device = next(encoder.parameters()).device
    ids, mask = padded(batch, words)
    output: Any = encoder(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        output_hidden_states=settings.layers != "last",
    )
    places = places_of(batch, shift=len(words.before))
    window, first, size = (one.to(device) for one in (places.window, places.first, places.size))
    hidden = [output.last_hidden_state] if settings.layers == "last" else list(output.hidden_states[1:])
    if settings.layers == "mean":
        hidden = [torch.stack(hidden).mean(dim=0)]
    read = [_pooled(layer, window, first, size, settings) for layer in hidden]
    return (torch.stack(read, dim=1) if settings.layers == "mix" else read[0]), places.target


def _pooled(hidden: Tensor, window: Tensor, first: Tensor, size: Tensor, settings: FeatureSettings) -> Tensor:
    total = hidden[window, first]
    if settings.pooling == "first":
        return total
    for piece in range(1, int(size.max())):
        longer = (size > piece).nonzero()[:, 0]
        total = total.index_add(0, longer, hidden[window[longer], first[longer] + piece])
    return total / size[:, None].to(total.dtype)
