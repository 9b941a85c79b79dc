"""Vectors beside the encoder: of pieces, trained on the corpus, and of words, from files.

Initialisers that find a new row's neighbours (FOCUS, WECHSEL, OFA) take them as arrays; here is where they
come from. numpy and gensim only: no model library.
"""

from extend.vectors.cache import cached_vectors, vectors_key
from extend.vectors.dictionary import read_dictionary
from extend.vectors.nouns import PieceVectors, WordVectors
from extend.vectors.reading import is_fasttext_model, read_vectors
from extend.vectors.training import Cbow, train_piece_vectors

__all__ = [
    "Cbow",
    "PieceVectors",
    "WordVectors",
    "cached_vectors",
    "is_fasttext_model",
    "read_dictionary",
    "read_vectors",
    "train_piece_vectors",
    "vectors_key",
]
