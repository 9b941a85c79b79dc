"""Proof that a tokenizer folder, and the model grown for it, are what was meant.

Eight assertions, each of which caught a real failure of some published extension. The tokenizer is read
back by `AutoTokenizer` in a new process, which is how a user will read it.
"""

from extend.certificate.checking import certify_folder
from extend.certificate.findings import ASSERTIONS, raise_failed
from extend.certificate.probes import PROBES, probes_for
from extend.certificate.reload import read_folders
from extend.certificate.written import BERT_SPECIAL, certify_model, certify_tokenizer

__all__ = [
    "ASSERTIONS",
    "BERT_SPECIAL",
    "PROBES",
    "certify_folder",
    "certify_model",
    "certify_tokenizer",
    "probes_for",
    "raise_failed",
    "read_folders",
]
