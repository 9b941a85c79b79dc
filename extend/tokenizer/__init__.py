"""The base's tokenizer: read it, learn from it how words split, extend it, encode with it, write it."""

from extend.tokenizer.encoding import (
    Encoded,
    encode,
    encode_batch,
    encode_words,
    fertility,
    segment,
    word_segmenter,
    word_splitter,
)
from extend.tokenizer.folders import (
    SPECIALS,
    TOKENIZER_FILES,
    load_tokenizer,
    new_wordpiece_tokenizer,
    read_vocabulary,
    save_tokenizer,
)
from extend.tokenizer.kind import AbstractTokenizerKind
from extend.tokenizer.kinds import TOKENIZER_KINDS, kind_of, spell, subwords
from extend.tokenizer.sentencepiece_file import new_unigram_tokenizer
from extend.tokenizer.special import special_ids, special_tokens
from extend.tokenizer.unigram_kind import UnigramKind
from extend.tokenizer.untrusted import read_settings, tokenizer_settings
from extend.tokenizer.wordpiece_kind import WordPieceKind

__all__ = [
    "SPECIALS",
    "TOKENIZER_FILES",
    "TOKENIZER_KINDS",
    "AbstractTokenizerKind",
    "Encoded",
    "UnigramKind",
    "WordPieceKind",
    "encode",
    "encode_batch",
    "encode_words",
    "fertility",
    "kind_of",
    "load_tokenizer",
    "new_unigram_tokenizer",
    "new_wordpiece_tokenizer",
    "read_settings",
    "read_vocabulary",
    "save_tokenizer",
    "segment",
    "special_ids",
    "special_tokens",
    "spell",
    "subwords",
    "tokenizer_settings",
    "word_segmenter",
    "word_splitter",
]
