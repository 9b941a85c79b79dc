"""XLM-R's tokenizer from its sentencepiece.bpe.model, when no tokenizer.json is there.

The file is a protocol buffer, sentencepiece_model.proto of the SentencePiece sources; the few fields that
matter are read here, for the sentencepiece library does not give its character map away. The
layout is fairseq's: `<s> <pad> </s> <unk>`, the pieces of the file without its first three, `<mask>` last.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from extend.errors import CheckpointError
from extend.types import Vocabulary

START, PAD, END, UNKNOWN, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
_UNIGRAM, _NORMAL, _UNKNOWN_TYPE, _CONTROL, _BYTES = 1, 1, 2, 3, 6
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class SentencePieceModel:
    """Pieces with their scores and types in the file's order, and the compiled character map."""

    pieces: tuple[tuple[str, float], ...]
    types: tuple[int, ...]
    character_map: bytes


def load_sentencepiece(path: Path) -> Tokenizer:
    """The tokenizer that XLM-R has with this file.

    Raises CheckpointError E-TOKENIZER when the file cannot be read, is no Unigram model, falls back to
    bytes, or does not begin with `<unk> <s> </s>`.
    """
    try:
        model = read_model(path.read_bytes())
    except (ValueError, IndexError, struct.error) as error:
        raise _unusable(path, "it is not a SentencePiece model") from error
    first = [piece for piece, _ in model.pieces[:3]]
    if first != [UNKNOWN, START, END] or model.types[:3] != (_UNKNOWN_TYPE, _CONTROL, _CONTROL):
        raise _unusable(path, f"it does not begin with {UNKNOWN} {START} {END}")
    if _BYTES in model.types:
        raise _unusable(path, "it falls back to bytes")
    special = [(token, 0.0) for token in (START, PAD, END, UNKNOWN)]
    listed = [*special, *model.pieces[3:], (MASK, 0.0)]
    try:
        Vocabulary(tuple(piece for piece, _ in listed))
    except ValueError as error:
        raise _unusable(path, "it has a piece twice") from error
    return new_unigram_tokenizer(listed, character_map=model.character_map)


def _unusable(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"cannot read {path}", name="E-TOKENIZER", why=why)


def new_unigram_tokenizer(pieces: Sequence[tuple[str, float]], *, character_map: bytes = b"") -> Tokenizer:
    """XLM-R's tokenizer over `[piece, score]` in id order, the five special tokens among them.

    Raises ValueError when one of those is not there.
    """
    ids = {piece: index for index, (piece, _) in enumerate(pieces)}
    special = (START, PAD, END, UNKNOWN, MASK)
    missing = [token for token in special if token not in ids]
    if missing:
        raise ValueError(f"a Unigram vocabulary needs {', '.join(missing)}")
    tokenizer = Tokenizer(models.Unigram(list(pieces), ids[UNKNOWN], False))
    if character_map:
        spaces = normalizers.Replace(Regex(" {2,}"), " ")
        tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(character_map), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        pair=f"{START} $A {END} {END} $B {END}",
        special_tokens=[(START, ids[START]), (END, ids[END])],
    )
    mask = AddedToken(MASK, lstrip=True, normalized=False, special=True)
    tokenizer.add_special_tokens([*special[:-1], mask])
    return tokenizer


def read_model(data: bytes) -> SentencePieceModel:
    """Raises ValueError, IndexError or struct.error when `data` is not what it should be."""
    pieces: list[tuple[str, float]] = []
    types: list[int] = []
    character_map, kind = b"", _UNIGRAM
    for field, value in _fields(data):
        if field == 1:
            piece, score, piece_type = _piece(_bytes(value))
            pieces.append((piece, score))
            types.append(piece_type)
        elif field == 2:
            kind = next((int(inner) for number, inner in _fields(_bytes(value)) if number == 3), kind)
        elif field == 3:
            found = (inner for number, inner in _fields(_bytes(value)) if number == 2)
            character_map = _bytes(next(found, b""))
    if kind != _UNIGRAM or not pieces:
        raise ValueError("not a Unigram model")
    return SentencePieceModel(tuple(pieces), tuple(types), character_map)


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, _NORMAL
    for field, value in _fields(data):
        if field == 1:
            text = _bytes(value).decode("utf-8")
        elif field == 2:
            (score,) = struct.unpack("<f", _bytes(value))
        elif field == 3:
            kind = int(value)
    return text, score, kind


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes should be")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers with their values, as the wire format of protocol buffers lays them out."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire = tag & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield tag >> 3, value
            continue
        if wire == _DELIMITED:
            length, position = _varint(data, position)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > len(data):
            raise ValueError("a field runs over the end")
        yield tag >> 3, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
