"""Tiny XLM-R tokenizers for tests, made offline: from a handful of pieces, or by SentencePiece's trainer."""

import functools
import io
import random
from collections.abc import Mapping
from pathlib import Path

import sentencepiece
from tokenizers import Tokenizer

from extend.tokenizer import new_unigram_tokenizer

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
LETTERS = "abcdefgh"
HANDFUL: Mapping[str, float] = {
    "▁": -3.5,
    **{letter: -5.0 - index / 4 for index, letter in enumerate(LETTERS)},
    "▁a": -4.25,
    "▁ab": -6.5,
    "ab": -6.25,
    "cd": -6.0,
    "bcd": -8.0,
    "▁bad": -7.0,
    "deaf": -9.5,
    ".": -4.0,
    "[": -9.0,
    "<": -9.25,
    "s": -5.5,
    ">": -9.25,
    "é": -10.0,
    "õ": -16.0,
}


def handful_tokenizer(pieces: Mapping[str, float] = HANDFUL) -> Tokenizer:
    """XLM-R's layout over `pieces`, in their order, `<mask>` last; no character map."""
    special = [(token, 0.0) for token in SPECIAL]
    return new_unigram_tokenizer([*special, *pieces.items(), ("<mask>", 0.0)])


@functools.cache
def trained_model(seed: int = 0, *, size: int = 300) -> bytes:
    """A sentencepiece.bpe.model: Unigram with XLM-R's rules (nmt_nfkc) over seeded words of syllables."""
    source = random.Random(seed)
    syllables = [a + b for a in "bdgklmnprstvz" for b in "aeiou"] + ["é", "ña", "ő", "да", "не", "ко"]
    words = ["".join(source.choices(syllables, k=source.randint(1, 4))) for _ in range(800)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    lines = [" ".join(source.choices(words, weights, k=8)) + source.choice(".!?") for _ in range(1500)]
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        model_type="unigram",
        vocab_size=size,
        normalization_rule_name="nmt_nfkc",
        num_threads=1,
        minloglevel=2,
    )
    return written.getvalue()


def write_trained(directory: Path, *, seed: int = 0, size: int = 300) -> Path:
    """A folder that holds sentencepiece.bpe.model and nothing else."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sentencepiece.bpe.model").write_bytes(trained_model(seed, size=size))
    return directory
