"""A tokenizer and the folder it lies in: tokenizer.json, tokenizer_config.json, and for WordPiece vocab.txt.

WordPieces are written to vocab.txt as well, because transformers 4 reads it and transformers 5 no longer
writes it. A Unigram base may come as sentencepiece.bpe.model; that file is never written, for it would
hold the old pieces and slow readers would take it. Of a foreign folder only these names are read, whatever
its settings say.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from extend import store
from extend.errors import CheckpointError, DataError, PathError, escaped
from extend.tokenizer.kinds import TOKENIZER_KINDS, kind_of
from extend.tokenizer.sentencepiece_file import load_sentencepiece
from extend.tokenizer.untrusted import SETTINGS, SPECIAL_TOKENS, inside, read_settings, refuse_slow_patterns
from extend.types import Vocabulary

TOKENIZER, VOCABULARY, SENTENCEPIECE = "tokenizer.json", "vocab.txt", "sentencepiece.bpe.model"
TOKENIZER_FILES = (TOKENIZER, VOCABULARY, SETTINGS, SPECIAL_TOKENS)
PAD, UNKNOWN, START, END, MASK = SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LEFT_BY_LOADERS = ("is_local", "local_files_only", "backend", "chat_template")


def load_tokenizer(directory: Path) -> Tokenizer:
    """Read tokenizer.json, or build BERT's rules from vocab.txt, or XLM-R's from sentencepiece.bpe.model.

    Without a `do_lower_case` key a vocabulary that has upper-case pieces is taken as cased. Settings of
    truncation and padding are dropped: they belong to a call. Raises PathError when no such file is there,
    CheckpointError when it cannot be read, DataError with the line when vocab.txt is broken, RefusedError
    when a file is a link out of the folder or too large, names code, or has a pattern that may not end.
    """
    settings = read_settings(directory)
    if path := inside(directory, TOKENIZER):
        return _read_tokenizer(path)
    if path := inside(directory, VOCABULARY):
        pieces = read_vocabulary(path).pieces
        cased = any(piece != piece.lower() for piece in pieces if piece[0] not in "[<")
        return new_wordpiece_tokenizer(
            pieces,
            lowercase=settings.get("do_lower_case", not cased),
            strip_accents=settings.get("strip_accents"),
            split_chinese=settings.get("tokenize_chinese_chars", True),
        )
    if path := inside(directory, SENTENCEPIECE):
        return load_sentencepiece(path)
    raise PathError(
        f"no {TOKENIZER}, {VOCABULARY} or {SENTENCEPIECE} in {directory}",
        name="E-PATH",
        next="give a folder that holds a tokenizer",
    )


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        text = path.read_text(encoding="utf-8")
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(
            f"cannot read {path}", name="E-TOKENIZER", why=escaped(str(error), limit=200)
        ) from error
    for kind in TOKENIZER_KINDS:
        if kind.matches(tokenizer):
            state = json.loads(text)
            refuse_slow_patterns(path, state)
            tokenizer = kind.restored(tokenizer, state)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


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
    if missing := [token for token in SPECIALS if token not in first]:
        raise _broken(path, len(lines), f"ends the file without {', '.join(missing)}")
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
    special_tokens_map.json go with it, without names of files; with None (a new tokenizer) the settings
    of its kind are written. Raises DataError when vocab.txt could not hold a piece on one line.
    """
    kind = kind_of(tokenizer)
    if kind.lists_pieces:
        pieces = kind.vocabulary(tokenizer).pieces
        broken = next((piece for piece in pieces if not piece or {"\n", "\r"} & set(piece)), None)
        if broken is not None:
            raise DataError(
                f"{VOCABULARY} cannot hold the piece {escaped(repr(broken))}",
                name="E-VOCABULARY",
                why="ids are line numbers: each line is one piece",
            )
        store.write_text(directory / VOCABULARY, "".join(f"{piece}\n" for piece in pieces))
    store.write_text(directory / TOKENIZER, tokenizer.to_str(pretty=True))
    store.write_json(directory / SETTINGS, _settings(tokenizer, read_settings(base) if base else {}))
    if base is not None and (special_tokens := inside(base, SPECIAL_TOKENS)):
        store.read_json(special_tokens)
        store.copy_files(base, directory, [SPECIAL_TOKENS])


def _settings(tokenizer: Tokenizer, base: dict[str, Any]) -> dict[str, Any]:
    kind = kind_of(tokenizer)
    settings = {
        key: value for key, value in base.items() if key not in _LEFT_BY_LOADERS and not key.endswith("_file")
    }
    if isinstance(settings.get("extra_special_tokens"), list):
        del settings["extra_special_tokens"]  # transformers 4.57 takes a mapping only and cannot load a list
    settings.setdefault("tokenizer_class", kind.tokenizer_class)
    settings.setdefault("model_max_length", 512)
    for role, token in kind.special.items():
        if tokenizer.token_to_id(token) is not None:
            settings.setdefault(f"{role}_token", token)
    return settings | kind.settings(json.loads(tokenizer.to_str()))
