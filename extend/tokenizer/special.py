"""The special tokens of a base: which piece has which role, and the ids that training must know."""

from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from extend.errors import CheckpointError, escaped
from extend.tokenizer.kinds import kind_of
from extend.types import SpecialIds

_SECOND_NAMES = {"cls": "bos", "sep": "eos"}


def special_tokens(tokenizer: Tokenizer, settings: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The token of each role: pad, unk, cls, sep, mask, in that order.

    They are those of the tokenizer's kind (`[PAD]`, `[CLS]`, ...; `<pad>`, `<s>`, ...) unless `settings`, the
    content of a tokenizer_config.json, names another (`cls_token`, else `bos_token`; `sep_token`, else
    `eos_token`). The unknown token is the model's own. Raises CheckpointError E-TOKENIZER when the
    vocabulary lacks one.
    """
    kind = kind_of(tokenizer)
    tokens = dict(kind.special) | _named(settings or {}) | {"unk": kind.unknown(tokenizer)}
    missing = [token for token in tokens.values() if tokenizer.token_to_id(token) is None]
    if missing:
        raise CheckpointError(
            f"tokenizer has no {escaped(', '.join(missing))}",
            name="E-TOKENIZER",
            why="masked training needs a token for padding, the unknown, both ends and the mask",
        )
    return tokens


def _named(settings: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for role in ("pad", "cls", "sep", "mask"):
        for name in (role, _SECOND_NAMES.get(role, role)):
            value = settings.get(f"{name}_token")
            token = value.get("content") if isinstance(value, Mapping) else value
            if isinstance(token, str) and role not in found:
                found[role] = token
    return found


def special_ids(tokenizer: Tokenizer, settings: Mapping[str, Any] | None = None) -> SpecialIds:
    """The ids training must know; `settings` as in `special_tokens`.

    Unmaskable are the special tokens and the pieces no text can give, such as `[unused7]`.
    Raises CheckpointError E-TOKENIZER when a special token is missing.
    """
    kind = kind_of(tokenizer)
    tokens, vocabulary = special_tokens(tokenizer, settings), kind.vocabulary(tokenizer)
    ids = {role: vocabulary.ids[token] for role, token in tokens.items()}
    added = {index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    return SpecialIds(
        mask=ids["mask"],
        pad=ids["pad"],
        unk=ids["unk"],
        start=ids["cls"],
        end=ids["sep"],
        unmaskable=frozenset({*ids.values(), *added, *kind.unreachable(tokenizer, vocabulary)}),
        vocab_size=len(vocabulary),
    )
