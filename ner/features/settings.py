"""What is read of the encoder for a word."""

from dataclasses import dataclass
from typing import Literal

Layers = Literal["last", "mean", "mix"]
Pooling = Literal["first", "mean"]
Precision = Literal["float32", "float16"]


@dataclass(frozen=True)
class FeatureSettings:
    """What is read of the encoder for a word.

    Args:
        layers: the `last` layer, the `mean` of all, or all of them for a trained `mix`; the embeddings are
            no layer.
        pooling: the vector of a word's `first` piece or the `mean` over its pieces.
        window: pieces a window, special ones among them; default what the encoder has positions for, at most
            512. Windows overlap by half, a word is read where it has most context on both sides.
        wordpiece_only: cut words by the WordPiece model alone, as EXTEND's release does: no splitting at
            punctuation or between CJK characters, so "U.S." is one word or unknown.
        precision: how vectors are kept. float16 halves memory and disk and rounds each value to 11 bits;
            the kept values are used whether or not they come from a cache.
    """

    layers: Layers = "last"
    pooling: Pooling = "first"
    window: int | None = None
    wordpiece_only: bool = False
    precision: Precision = "float32"
