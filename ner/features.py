"""Words to vectors by a frozen encoder: the vector of a word is that of its first word-piece.

As in EXTEND (Wang et al. 2020) but for three points: the encoder runs without dropout and its last layer is
read (or the mean of all layers), so that vectors can be computed once and kept; words pass through the whole
tokenizer, not its WordPiece half alone; and long sentences are read in overlapping windows that never cut
a word.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoTokenizer

from extend.errors import CheckpointError

Mix = Literal["last", "mean"]
Pieces = tuple[int, ...]

MAX_WINDOW = 512
TOKENS_A_BATCH = 4096


@dataclass(frozen=True)
class WordFeatures:
    """One vector a word, sentence after sentence; sentence `i` has rows `offsets[i]` to `offsets[i + 1]`."""

    vectors: Tensor
    offsets: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def length(self, sentence: int) -> int:
        return self.offsets[sentence + 1] - self.offsets[sentence]

    def sentence(self, index: int) -> Tensor:
        return self.vectors[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """How a tokenizer cuts words: pieces a word, and the share of words with an unknown piece (0 to 1)."""

    words: int
    fertility: float
    unk_rate: float


class WordPieces:
    """Pieces of given words by the tokenizer of a checkpoint folder. Remembers every word it has cut.

    A word that yields no piece (a lone variation selector, say) gets the unknown piece, so labels never
    shift; a word that spells a special token (`[SEP]`) is unknown too.

    Raises CheckpointError when the folder has no tokenizer that can be loaded without running its code.
    """

    def __init__(self, directory: Path) -> None:
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                directory, local_files_only=True, trust_remote_code=False, use_fast=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"cannot load the tokenizer of {directory}", name="E-TOKENIZER", why=str(error)[:200]
            ) from error
        self._tokenizer: Any = tokenizer
        self._cut: dict[str, Pieces] = {}
        self.pad: int = tokenizer.pad_token_id or 0
        first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
        last = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
        self.before: Pieces = () if first is None else (first,)
        self.after: Pieces = () if last is None else (last,)
        if tokenizer.unk_token_id is None:
            raise CheckpointError(f"the tokenizer of {directory} has no unknown token", name="E-TOKENIZER")
        self.unknown: int = tokenizer.unk_token_id
        self._special = frozenset(tokenizer.all_special_ids)

    def cut(self, sentences: Iterable[Sequence[str]]) -> list[list[Pieces]]:
        """The pieces of every word of every sentence; each word has at least one."""
        known = list(sentences)
        new = sorted({word for words in known for word in words} - self._cut.keys())
        if new:
            single = [[word.encode("utf-8", "replace").decode("utf-8")] for word in new]
            encoded = self._tokenizer(
                single, is_split_into_words=True, add_special_tokens=False, verbose=False
            )
            self._cut.update(zip(new, map(self._checked, encoded["input_ids"]), strict=True))
        return [[self._cut[word] for word in words] for words in known]

    def _checked(self, ids: Sequence[int]) -> Pieces:
        if not ids or (ids[0] in self._special and len(ids) == 1):
            return (self.unknown,)
        return tuple(self.unknown if piece in self._special else piece for piece in ids)

    def statistics(self, sentences: Iterable[Sequence[str]]) -> TokenStatistics:
        """Fertility and unknown rate over all words as they occur (0 words: both 0)."""
        words = [pieces for sentence in self.cut(sentences) for pieces in sentence]
        return TokenStatistics(
            words=len(words),
            fertility=sum(map(len, words)) / max(1, len(words)),
            unk_rate=sum(self.unknown in pieces for pieces in words) / max(1, len(words)),
        )

    def unknown_words(self, sentences: Iterable[Sequence[str]]) -> frozenset[str]:
        """The distinct words that have an unknown piece."""
        words = {word for sentence in sentences for word in sentence}
        self.cut([sorted(words)])
        return frozenset(word for word in words if self.unknown in self._cut[word])


@dataclass(frozen=True, slots=True)
class _Window:
    """A stretch of one sentence: its pieces, and for the words kept from it their row and first piece."""

    pieces: Pieces
    rows: tuple[int, ...]
    firsts: tuple[int, ...]


@torch.no_grad()
def word_features(
    encoder: nn.Module,
    words: WordPieces,
    sentences: Sequence[Sequence[str]],
    *,
    mix: Mix = "last",
    window: int | None = None,
    tokens_a_batch: int = TOKENS_A_BATCH,
) -> WordFeatures:
    """The vector of the first piece of every word, in fp32 on the CPU.

    Args:
        encoder: a transformers encoder in eval mode, on the device it shall run on.
        mix: `last` layer, or the `mean` of the layers (without the embeddings).
        window: pieces a window, special ones among them; default what the encoder has positions for, at
            most 512. Windows overlap by half, a word is read where it has most context on both sides.
        tokens_a_batch: bounds memory; results do not depend on it but for rounding.
    """
    size = window or _positions(encoder)
    capacity = size - len(words.before) - len(words.after)
    offsets = [0]
    windows: list[_Window] = []
    for pieces in words.cut(sentences):
        windows += _windows(pieces, offsets[-1], capacity)
        offsets.append(offsets[-1] + len(pieces))
    device = next(encoder.parameters()).device
    vectors: Tensor | None = None
    for batch in _batches(windows, tokens_a_batch):
        ids, mask = _padded(batch, words)
        output = encoder(
            input_ids=ids.to(device), attention_mask=mask.to(device), output_hidden_states=mix == "mean"
        )
        hidden = _mixed(output, mix)
        if vectors is None:
            vectors = torch.empty(offsets[-1], hidden.shape[-1])
        row, position, target = _where(batch, shift=len(words.before))
        vectors[target] = hidden[row.to(device), position.to(device)].float().cpu()
    if vectors is None:
        vectors = torch.empty(0, 0)
    return WordFeatures(vectors, tuple(offsets))


def _positions(encoder: nn.Module) -> int:
    config: Any = encoder.config
    limit = int(getattr(config, "max_position_embeddings", 0) or MAX_WINDOW)
    if getattr(config, "model_type", "") in {"roberta", "xlm-roberta", "camembert"}:
        limit -= 2  # their positions start after the padding id
    return min(limit, MAX_WINDOW)


def _windows(pieces: Sequence[Pieces], first_row: int, capacity: int) -> Iterator[_Window]:
    """Cut one sentence: whole when it fits, else windows of whole words that overlap by half."""
    if capacity < 1:
        raise ValueError("a window has room for one piece at least")
    cut = [piece[:capacity] for piece in pieces]  # only a word longer than a whole window loses pieces
    starts = [0]
    for piece in cut:
        starts.append(starts[-1] + len(piece))
    stretches = _stretches(starts, capacity)
    centres = [(starts[begin] + starts[end]) / 2 for begin, end in stretches]
    kept: list[list[int]] = [[] for _ in stretches]
    for word in range(len(cut)):
        holders = [i for i, (begin, end) in enumerate(stretches) if begin <= word < end]
        kept[min(holders, key=lambda i: (abs(centres[i] - starts[word]), i))].append(word)
    for (begin, end), mine in zip(stretches, kept, strict=True):
        if mine:
            yield _Window(
                pieces=tuple(part for piece in cut[begin:end] for part in piece),
                rows=tuple(first_row + word for word in mine),
                firsts=tuple(starts[word] - starts[begin] for word in mine),
            )


def _stretches(starts: Sequence[int], capacity: int) -> list[tuple[int, int]]:
    """Word ranges of at most `capacity` pieces that cover all words; each begins half way into the last."""
    words = len(starts) - 1
    ranges: list[tuple[int, int]] = []
    begin = end = 0
    while end < words:
        while end < words and starts[end + 1] - starts[begin] <= capacity:
            end += 1
        ranges.append((begin, end))
        half = starts[begin] + (starts[end] - starts[begin]) // 2
        begin = max(begin + 1, next(word for word in range(begin, end + 1) if starts[word] >= half))
        while end < words and starts[end + 1] - starts[begin] > capacity:
            begin += 1
    return ranges


def _batches(windows: Sequence[_Window], tokens: int) -> Iterator[list[_Window]]:
    """Windows of like length together, longest first, at most `tokens` padded pieces a batch."""
    batch: list[_Window] = []
    for window in sorted(windows, key=lambda window: -len(window.pieces)):
        if batch and len(batch[0].pieces) * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _padded(batch: Sequence[_Window], words: WordPieces) -> tuple[Tensor, Tensor]:
    rows = [words.before + window.pieces + words.after for window in batch]
    width = max(map(len, rows))
    ids = torch.tensor([row + (words.pad,) * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


def _where(batch: Sequence[_Window], *, shift: int) -> tuple[Tensor, Tensor, Tensor]:
    """Batch row, position and target row of every word kept from the batch."""
    row = [index for index, window in enumerate(batch) for _ in window.rows]
    position = [shift + first for window in batch for first in window.firsts]
    target = [place for window in batch for place in window.rows]
    return torch.tensor(row), torch.tensor(position), torch.tensor(target)


def _mixed(output: Any, mix: Mix) -> Float[Tensor, "batch pieces hidden"]:
    if mix == "last":
        last: Tensor = output.last_hidden_state
        return last
    return torch.stack(output.hidden_states[1:]).mean(dim=0)
