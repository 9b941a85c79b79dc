"""Raw text to documents and word counts, the same whatever the order of the files."""

from extend.corpus.accounts import Account, Fingerprint, ReadPolicy
from extend.corpus.counting import CorpusCounts, CountingLimits, count_corpus, sample_held_out
from extend.corpus.counting_words import count_words
from extend.corpus.disk import fingerprints
from extend.corpus.files import corpus_sha256, find_files
from extend.corpus.held_out import HeldOut, find_held_out, held_out_documents, training_documents
from extend.corpus.readers import (
    READERS,
    Reader,
    TextBatch,
    read_batches,
    read_corpus,
    read_file,
    read_text,
)
from extend.corpus.streams import kind_of

__all__ = [
    "READERS",
    "Account",
    "CorpusCounts",
    "CountingLimits",
    "Fingerprint",
    "HeldOut",
    "ReadPolicy",
    "Reader",
    "TextBatch",
    "corpus_sha256",
    "count_corpus",
    "count_words",
    "find_files",
    "find_held_out",
    "fingerprints",
    "held_out_documents",
    "kind_of",
    "read_batches",
    "read_corpus",
    "read_file",
    "read_text",
    "sample_held_out",
    "training_documents",
]
