"""Tokenizer folders read as their users will read them: a program, started by its path in a new process.

It takes a request as JSON on standard input and answers on standard output. It runs in the interpreter of
this environment or of another one (transformers 4), where `extend` is not installed: it knows the standard
library alone and asks for transformers by name, once it runs.

Nothing here trusts the folder: no code of its own is loaded, no connection and no process is opened.
"""

import contextlib
import functools
import importlib
import json
import platform
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROLES = ("pad", "unk", "cls", "sep", "mask")
REFUSED = ("socket.connect", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """The readings of each folder of `request`, in their order, and the versions that read.

    `request` has `texts`, `case` (a text whose normal form is asked for) and `folders`, pairs of a path and
    the readings wanted of it: some of `fast` (AutoTokenizer), `direct` (tokenizer.json read by `tokenizers`
    alone), `slow` (the tokenizer written in Python, where there is one; texts are composed first) and
    `proto` (sentencepiece.bpe.model). A reading is null where the folder has no such thing, and
    `{"error": ...}` where it does not load.
    """
    with contextlib.redirect_stdout(sys.stderr):
        versions = {
            name: importlib.import_module(name).__version__ for name in ("transformers", "tokenizers")
        }
        folders = [
            _Folder(Path(folder), request["texts"], request["case"]).readings(readings)
            for folder, readings in request["folders"]
        ]
    return {"versions": {"python": platform.python_version(), **versions}, "folders": folders}


class _Folder:
    """One folder and the texts to encode with what it holds; AutoTokenizer loads it once."""

    def __init__(self, path: Path, texts: Sequence[str], case: str) -> None:
        self.path, self.texts, self.case = path, list(texts), case

    def readings(self, names: Sequence[str]) -> dict[str, Any]:
        readers = {"fast": self.fast, "direct": self.direct, "slow": self.slow, "proto": self.proto}
        found: dict[str, Any] = {}
        for name in names:
            try:
                found[name] = readers[name]()
            except Exception as error:  # the libraries raise nearly anything on a broken folder
                found[name] = {"error": f"{type(error).__name__}: {error}"}
        return found

    @functools.cached_property
    def tokenizer(self) -> Any:
        return self._load()

    def _load(self, **settings: Any) -> Any:
        loader = importlib.import_module("transformers").AutoTokenizer
        return loader.from_pretrained(
            str(self.path), local_files_only=True, trust_remote_code=False, **settings
        )

    def fast(self) -> dict[str, Any]:
        tokenizer = self.tokenizer
        normalizer = tokenizer.backend_tokenizer.normalizer
        tokens = {role: getattr(tokenizer, f"{role}_token", None) for role in ROLES}
        return {
            "size": len(tokenizer),
            "vocabulary": tokenizer.get_vocab(),
            "special": {
                role: token and [token, tokenizer.convert_tokens_to_ids(token)]
                for role, token in tokens.items()
            },
            "added": tokenizer.get_added_vocab(),
            "ids": _ids(tokenizer, self.texts),
            "normal": normalizer.normalize_str(self.case) if normalizer else self.case,
        }

    def direct(self) -> dict[str, Any] | None:
        path = self.path / "tokenizer.json"
        if not path.is_file():
            return None
        tokenizer = importlib.import_module("tokenizers").Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return {
            "model": type(tokenizer.model).__name__,
            "inside": getattr(tokenizer.model, "continuing_subword_prefix", None),
            "vocabulary": tokenizer.get_vocab(with_added_tokens=True),
            "ids": [encoding.ids for encoding in tokenizer.encode_batch(self.texts)],
        }

    def slow(self) -> dict[str, Any] | None:
        tokenizer = self._in_python()
        if tokenizer is None:
            return None
        if not hasattr(tokenizer, "is_fast"):
            raise TypeError(f"AutoTokenizer with use_fast=False gives {tokenizer!r}")
        if tokenizer.is_fast:
            return None
        # BERT's tokenizer in Python composes accents before all else; the fast one of a cased base does not.
        composed = [unicodedata.normalize("NFC", text) for text in self.texts]
        return {
            "kind": type(tokenizer).__name__,
            "size": len(tokenizer),
            "ids": _ids(tokenizer, composed),
            "fast": _ids(self.tokenizer, composed),
        }

    def _in_python(self) -> Any:
        """What use_fast=False gives; transformers 5 ignores it, and has only BERT's left."""
        if int(importlib.import_module("transformers").__version__.split(".")[0]) < 5:
            return self._load(use_fast=False)
        if type(self.tokenizer).__name__ != "BertTokenizer" or not (self.path / "vocab.txt").is_file():
            return None
        try:
            legacy = importlib.import_module("transformers.models.bert.tokenization_bert_legacy")
        except ModuleNotFoundError:
            return None
        return legacy.BertTokenizerLegacy.from_pretrained(str(self.path), local_files_only=True)

    def proto(self) -> dict[str, Any] | None:
        path = self.path / "sentencepiece.bpe.model"
        if not path.is_file():
            return None
        processor = importlib.import_module("sentencepiece").SentencePieceProcessor(model_file=str(path))
        return {"pieces": [processor.id_to_piece(index) for index in range(processor.get_piece_size())]}


def _ids(tokenizer: Any, texts: list[str]) -> Any:
    return tokenizer(texts)["input_ids"] if texts else []


def _refuse(event: str, _: tuple[Any, ...]) -> None:
    if event in REFUSED:
        raise PermissionError(f"a folder that is read has no business with {event}")


def main() -> None:
    """Read the request, with no torch (a tokenizer needs none, and it is half of the time), and answer it."""
    sys.modules["torch"] = None  # type: ignore[assignment]
    sys.addaudithook(_refuse)
    sys.stdout.write(json.dumps(answer(json.load(sys.stdin.buffer))))


if __name__ == "__main__":
    main()
