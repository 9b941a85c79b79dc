"""Raw text to documents and word counts, the same whatever the order of the files."""

from extend.corpus.files import corpus_sha256, find_files
from extend.corpus.readers import READERS, Reader, read_corpus
from extend.corpus.sample import count_words, split_held_out

__all__ = [
    "READERS",
    "Reader",
    "corpus_sha256",
    "count_words",
    "find_files",
    "read_corpus",
    "split_held_out",
]
