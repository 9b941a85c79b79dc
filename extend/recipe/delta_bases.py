"""The base of a delta: known by its files, extended, compared with what was grown from it, given back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from extend import store
from extend.certificate.folder import inside
from extend.deltas import BaseFacts, RowBlock, moved_rows, new_rows
from extend.errors import CheckpointError, escaped
from extend.hub import load_pretraining_model, resolve_base
from extend.hub.folder import weight_files
from extend.tokenizer import TOKENIZER_FILES, kind_of, load_tokenizer
from extend.types import Vocabulary, VocabularyExtension

SENTENCEPIECE, INDEX = "sentencepiece.bpe.model", "model.safetensors.index.json"
_DECIDING = (("tokenizer.json",), ("vocab.txt", "tokenizer_config.json"), (SENTENCEPIECE,))
_OF_A_BASE = (
    "config.json", "generation_config.json", INDEX, *TOKENIZER_FILES, "added_tokens.json", SENTENCEPIECE
)  # fmt: skip
NOTHING_DONE = "nothing was written"


@dataclass(frozen=True)
class Base:
    """A base in its folder, with what identifies it."""

    directory: Path
    facts: BaseFacts
    tokenizer: Tokenizer
    vocabulary: Vocabulary

    @property
    def size(self) -> int:
        return len(self.vocabulary)


def open_base(name: str, *, revision: str | None = None) -> Base:
    """The base `name`, a hub name or a folder, with the sha256 of its weights and of what its tokenizer is.

    The folder's own name stands for a path. Raises as `resolve_base`, `load_tokenizer` and `kind_of` do.
    """
    checkpoint = resolve_base(name, revision=revision)
    directory = checkpoint.directory
    tokenizer = load_tokenizer(directory)
    kind = kind_of(tokenizer)
    deciding = next(names for names in _DECIDING if (directory / names[0]).is_file())
    local = Path(name).expanduser().is_dir()
    vocabulary = kind.vocabulary(tokenizer)
    facts = BaseFacts(
        name=escaped(directory.resolve().name if local else name, limit=200) or "base",
        revision=checkpoint.revision,
        weights={path.name: store.sha256_file(path) for path in weight_files(directory)},
        tokenizer={
            file: store.sha256_file(directory / file) for file in deciding if (directory / file).is_file()
        },
        kind=kind.name,
        size=len(vocabulary),
    )
    return Base(directory, facts, tokenizer, vocabulary)


def base_of(wanted: BaseFacts, name: str) -> Base:
    """The base `name`, at the commit of `wanted` when that is its name. Raises for any other base."""
    base = open_base(name, revision=wanted.revision if name == wanted.name else None)
    differing = base.facts.differing(wanted)
    if differing:
        commit = f" at commit {wanted.revision}" if wanted.revision else ""
        raise CheckpointError(
            f"{escaped(name)} is not the base these rows belong to",
            name="E-DELTA-BASE",
            why=f"other than then: {', '.join(map(escaped, differing[:5]))}",
            done=NOTHING_DONE,
            next=f"give --base {escaped(wanted.name)}{commit}",
        )
    return base


def pieces_after(base: Base, source: Path, tokenizer: Tokenizer) -> tuple[str, ...]:
    """The new pieces of `source`, whose `tokenizer` has those of the base first. Raises CheckpointError."""
    pieces = kind_of(tokenizer).vocabulary(tokenizer).pieces
    if pieces[: base.size] != base.vocabulary.pieces or len(pieces) <= base.size:
        raise CheckpointError(
            f"the pieces of {source} are not those of the base with new ones behind them",
            name="E-DELTA-BASE",
            done=NOTHING_DONE,
            next="give the base that the checkpoint was grown from",
        )
    return pieces[base.size :]


def rows_of(source: Path, base: Base, pieces: Sequence[str], *, next: str) -> RowBlock:
    """The rows and biases of the new `pieces` in a checkpoint, all else of which is the base's.

    Raises CheckpointError E-DELTA-TRAINED, which says how many old rows differ and what to do `next`.
    """
    model, before = load_pretraining_model(source), load_pretraining_model(base.directory)
    moved = moved_rows(before, model, known=base.size)
    if moved:
        others = f" and {len(moved.tensors)} other tensors" if moved.tensors else ""
        raise CheckpointError(
            f"{moved.rows:,} of {base.size:,} old rows{others} of {source} differ from the base's",
            name="E-DELTA-TRAINED",
            why="its old weights were trained, so the base and the new rows do not make it",
            done=NOTHING_DONE,
            next=next,
        )
    block = new_rows(model, known=base.size)
    if len(block) != len(pieces):
        raise CheckpointError(
            f"{source} has {len(block)} new embedding rows, its tokenizer {len(pieces)} new pieces",
            name="E-VOCABULARY-SIZE",
            done=NOTHING_DONE,
        )
    return block


def extended_tokenizer(base: Base, pieces: Sequence[str], scores: Sequence[float]) -> Tokenizer:
    """The base's tokenizer with `pieces` behind its own. Raises CheckpointError when they do not fit."""
    try:
        extension = VocabularyExtension(base.vocabulary, tuple(pieces))
        return kind_of(base.tokenizer).extended(base.tokenizer, extension, scores=scores)
    except ValueError as error:
        raise CheckpointError(
            "the pieces cannot follow those of the base",
            name="E-DELTA-BASE",
            why=escaped(str(error), limit=160),
            done=NOTHING_DONE,
        ) from error


def copy_base(base: Base, out: Path) -> None:
    """Publish the base's own files, the very bytes that were looked at. Raises RefusedError for links."""
    names = [*_OF_A_BASE, *base.facts.weights]
    found = [name for name in names if inside(base.directory, name, most=None)]
    with store.publish_directory(out) as folder:
        store.copy_files(base.directory, folder, found)
        sums: Mapping[str, str] = {**base.facts.weights, **base.facts.tokenizer}
        changed = [name for name, wanted in sums.items() if store.sha256_file(folder / name) != wanted]
        if changed:
            raise unproven(folder, f"{escaped(changed[0])} changed while it was copied")


def unproven(folder: Path, why: str) -> CheckpointError:
    """The refusal of what was written and reads otherwise."""
    return CheckpointError(
        f"{folder} does not read as it was written", name="E-CERTIFICATE", why=why, done=NOTHING_DONE
    )
