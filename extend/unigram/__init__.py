"""Pieces and scores that a Unigram base lacks for a corpus.

Everything here works on words and pieces as the model gets them (`▁word`) and knows nothing of the mark.
Segmentations are those of `tokenizers`; all orders are total, so that the same counts give the same scores.
"""

from extend.unigram.choosing import ScoredPieces, choose_pieces
from extend.unigram.frontier import SHARES, frontier
from extend.unigram.scores import DEFAULT_SHARE, mixed, piece_scores

__all__ = ["DEFAULT_SHARE", "SHARES", "ScoredPieces", "choose_pieces", "frontier", "mixed", "piece_scores"]
