"""The base's tokenizer: read it, learn from it how words split, extend it, encode with it, write it."""

from extend.tokenizer.encoding import (
    Encoded,
    encode,
    encode_batch,
    encode_words,
    fertility,
    segment,
    special_ids,
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
from extend.tokenizer.kinds import (
    TOKENIZER_KINDS,
    AbstractTokenizerKind,
    WordPieceKind,
    kind_of,
    spell,
    subwords,
)

__all__ = [
    "SPECIALS",
    "TOKENIZER_FILES",
    "TOKENIZER_KINDS",
    "AbstractTokenizerKind",
    "Encoded",
    "WordPieceKind",
    "encode",
    "encode_batch",
    "encode_words",
    "fertility",
    "kind_of",
    "load_tokenizer",
    "new_wordpiece_tokenizer",
    "read_vocabulary",
    "save_tokenizer",
    "segment",
    "special_ids",
    "spell",
    "subwords",
    "word_segmenter",
    "word_splitter",
]
