"""A tokenizer and the folder it lies in: tokenizer.json, vocab.txt, tokenizer_config.json.

Pieces are written to vocab.txt as well, because transformers 4 reads it and transformers 5 no longer
writes it. Of a foreign folder only these three names are read.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from extend import store
from extend.errors import CheckpointError, DataError, PathError, RefusedError, escaped
from extend.tokenizer.kinds import kind_of
from extend.types import Vocabulary

TOKENIZER, VOCABULARY, CONFIG, SPECIAL_TOKENS = TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
PAD, UNKNOWN, START, END, MASK = SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_FILE_BYTES = 256 << 20
_LEFT_BY_LOADERS = ("is_local", "local_files_only", "backend")


def load_tokenizer(directory: Path) -> Tokenizer:
    """Read tokenizer.json, or build BERT's rules from vocab.txt and tokenizer_config.json.

    Without a `do_lower_case` key a vocabulary that has upper-case pieces is taken as cased. Settings of
    truncation and padding are dropped: they belong to a call. Raises PathError when neither file is there,
    CheckpointError when tokenizer.json cannot be read, DataError with the line when vocab.txt is broken,
    RefusedError when a file is a link out of the folder or too large.
    """
    path = _inside(directory, TOKENIZER)
    if path is not None:
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(
                f"cannot read {path}", name="E-TOKENIZER", why=escaped(str(error), limit=200)
            ) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    path = _inside(directory, VOCABULARY)
    if path is None:
        raise PathError(
            f"no {TOKENIZER} and no {VOCABULARY} in {directory}",
            name="E-PATH",
            next="give a folder that holds a tokenizer",
        )
    pieces = read_vocabulary(path).pieces
    config = _read_config(directory)
    cased = any(piece != piece.lower() for piece in pieces if piece[0] not in "[<")
    return new_wordpiece_tokenizer(
        pieces,
        lowercase=config.get("do_lower_case", not cased),
        strip_accents=config.get("strip_accents"),
        split_chinese=config.get("tokenize_chinese_chars", True),
    )


def read_vocabulary(path: Path) -> Vocabulary:
    """A vocab.txt: one piece a line, the line number its id. Raises DataError with the line at fault."""
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except OSError as error:
        raise store.as_extend_error(error, path) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _broken(path, line, "is not UTF-8") from error
    if lines[-1] == "":
        lines.pop()
    first: dict[str, int] = {}
    for number, piece in enumerate(lines, start=1):
        if not piece:
            raise _broken(path, number, "is empty")
        if piece.startswith("\ufeff") and number == 1:
            raise _broken(path, number, "starts with a byte order mark")
        if piece.endswith("\r"):
            raise _broken(path, number, "ends with a carriage return")
        if first.setdefault(piece, number) != number:
            raise _broken(path, number, f"repeats {escaped(piece)} of line {first[piece]}")
    if UNKNOWN not in first:
        raise _broken(path, len(lines), f"ends the file and {UNKNOWN} was not in it")
    return Vocabulary(tuple(lines))


def _broken(path: Path, line: int, what: str) -> DataError:
    return DataError(
        f"{path}:{line}: line {what}", name="E-VOCABULARY", why="ids are line numbers: each line is one piece"
    )


def new_wordpiece_tokenizer(
    pieces: Sequence[str],
    *,
    lowercase: bool = False,
    strip_accents: bool | None = None,
    split_chinese: bool = True,
) -> Tokenizer:
    """BERT's tokenizer, cased by default, over `pieces` in id order. `[UNK]` must be among them."""
    vocabulary = Vocabulary(tuple(pieces))
    ids = dict(vocabulary.ids)
    if UNKNOWN not in ids:
        raise ValueError(f"a WordPiece vocabulary needs {UNKNOWN}")
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=split_chinese,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens([token for token in SPECIALS if token in ids])
    if START in ids and END in ids:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{START}:0 $A:0 {END}:0",
            pair=f"{START}:0 $A:0 {END}:0 $B:1 {END}:1",
            special_tokens=[(START, ids[START]), (END, ids[END])],
        )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, directory: Path, *, base: Path | None) -> None:
    """Write the files that transformers 5 and 4 load the same tokenizer from.

    `base` is the folder of the tokenizer it was made from: its tokenizer_config.json and
    special_tokens_map.json go with it; with None (a new tokenizer) BERT's are written.
    """
    pieces = kind_of(tokenizer).vocabulary(tokenizer).pieces
    store.write_text(directory / TOKENIZER, tokenizer.to_str(pretty=True))
    store.write_text(directory / VOCABULARY, "".join(f"{piece}\n" for piece in pieces))
    config = _read_config(base) if base is not None else {}
    store.write_json(directory / CONFIG, _config(tokenizer, config))
    if base is not None:
        store.copy_files(base, directory, [SPECIAL_TOKENS])


def _config(tokenizer: Tokenizer, base: dict[str, Any]) -> dict[str, Any]:
    config = {key: value for key, value in base.items() if key not in _LEFT_BY_LOADERS}
    config.setdefault("tokenizer_class", "BertTokenizer")
    config.setdefault("model_max_length", 512)
    roles = zip(("pad", "unk", "cls", "sep", "mask"), SPECIALS, strict=True)
    for role, token in roles:
        if tokenizer.token_to_id(token) is not None:
            config.setdefault(f"{role}_token", token)
    # transformers 5 builds the normalizer of a BertTokenizer from these keys and not from tokenizer.json
    normalizer = json.loads(tokenizer.to_str())["normalizer"] or {}
    if normalizer.get("type") == "BertNormalizer":
        config["do_lower_case"] = normalizer["lowercase"]
        config["strip_accents"] = normalizer["strip_accents"]
        config["tokenize_chinese_chars"] = normalizer["handle_chinese_chars"]
    return config


def _read_config(directory: Path) -> dict[str, Any]:
    path = _inside(directory, CONFIG)
    config = {} if path is None else store.read_json(path)
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a JSON object", name="E-JSON")
    if "auto_map" in config:
        raise RefusedError(
            f"{path} names code of its own (auto_map)",
            name="E-REMOTE-CODE",
            why="a checkpoint's code is never run",
        )
    return config


def _inside(directory: Path, name: str) -> Path | None:
    """The file, if there is one. Links may lead elsewhere only as the hub's cache makes them."""
    path = directory / name
    if not path.is_file():
        return None
    if path.stat().st_size > MAX_FILE_BYTES:
        raise RefusedError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB", name="E-SIZE")
    if path.is_symlink():
        target = path.resolve()
        blobs = directory.resolve().parent.parent / "blobs"
        if not (target.is_relative_to(directory.resolve()) or target.parent == blobs):
            raise RefusedError(f"{path} is a link out of its folder", name="E-LINK")
    return path
