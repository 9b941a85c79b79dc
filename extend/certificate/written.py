"""The certificate of what this toolkit has just written: nothing is published without it."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from extend import store
from extend.certificate.comparisons import (
    added_stand,
    drift_measured,
    pieces_stand,
    same_case,
    same_ids,
    special_stand,
    spelt_better,
)
from extend.certificate.findings import ASSERTIONS, Finding, failure, finding, required
from extend.certificate.folder import weight_files
from extend.certificate.probes import CASE_PROBE, probes_for
from extend.certificate.reload import Reading, read_folders
from extend.certificate.weights import (
    BIASES,
    EMBEDDINGS,
    StoredTensors,
    has_bias,
    old_row_findings,
    row_findings,
    tie_finding,
)
from extend.errors import CheckpointError
from extend.types import VocabularyExtension

BERT_SPECIAL: Mapping[str, str] = {
    "pad": "[PAD]",
    "unk": "[UNK]",
    "cls": "[CLS]",
    "sep": "[SEP]",
    "mask": "[MASK]",
}


def certify_tokenizer(
    directory: Path,
    extension: VocabularyExtension,
    *,
    base: Tokenizer,
    extended: Tokenizer,
    held_out: Mapping[str, Mapping[str, float]],
    drift: Mapping[str, Any],
    texts: Sequence[str] = (),
    special: Mapping[str, str] = BERT_SPECIAL,
) -> dict[str, Any]:
    """Assertions 1 to 4 and 6 to 8 on the tokenizer folder `directory`, written from `extended`.

    `held_out` has `base` and `extended`, each with `fertility` and `unk_rate`; `texts` are lines of the new
    language, probed beside the fixed ones; `special` the base's token by role (pad, unk, cls, sep, mask).
    Returns the assertions that held, how many texts were probed and the versions that read them. Raises
    CheckpointError E-CERTIFICATE naming the first that did not hold.

    The folder is read by AutoTokenizer in a new process without torch, which a tokenizer does not use.
    """
    required([spelt_better(held_out["base"], held_out["extended"]), drift_measured(drift)])
    pieces = extension.base.pieces + extension.added
    probes = probes_for(pieces, special=special.values(), texts=texts)
    (answer,), versions = read_folders({directory: ("fast",)}, probes, case=CASE_PROBE)
    if answer.fast is None:
        raise failure(finding(4, False, f"AutoTokenizer cannot load {directory}: {answer.errors['fast']}"))
    normalizer = base.normalizer
    required(
        _tokenizer_findings(
            answer.fast,
            pieces,
            special={role: (token, base.token_to_id(token)) for role, token in special.items()},
            added={token.content: index for index, token in base.get_added_tokens_decoder().items()},
            probes=probes,
            ids=[encoding.ids for encoding in extended.encode_batch(list(probes))],
            normal=normalizer.normalize_str(CASE_PROBE) if normalizer else CASE_PROBE,
        )
    )
    held = [name for number, name in ASSERTIONS.items() if number != 5]
    return {"held": held, "probes": len(probes), "versions": versions}


def _tokenizer_findings(
    found: Reading,
    pieces: Sequence[str],
    *,
    special: Mapping[str, tuple[str, int | None]],
    added: Mapping[str, int],
    probes: Sequence[str],
    ids: Sequence[Sequence[int]],
    normal: str,
) -> Iterator[Finding]:
    yield pieces_stand(found, pieces, name=ASSERTIONS[1], exactly=True)
    yield special_stand(found, special)
    yield added_stand(found, added)
    yield same_ids(found.ids, ids, probes)
    yield same_case(found, normal)


def certify_model(directory: Path, *, base: Path, old: int, size: int) -> dict[str, Any]:
    """Assertions 1 and 5 on a model folder grown from the folder `base`, both with safetensors.

    `old` pieces are the base tokenizer's, `size` the extended one's. The stored bytes are compared. Raises
    CheckpointError E-CERTIFICATE naming the first assertion that does not hold, CheckpointError
    E-CHECKPOINT when the weights of either cannot be read or have no masked-language-model head.
    """
    config = store.read_json(directory / "config.json")
    vocab_size = config.get("vocab_size")
    agree = f"config.json has vocab_size {vocab_size}, the tokenizer {size}"
    required([finding(1, vocab_size == size, agree)])
    grown, before = _weights(directory), _weights(base)
    bias = has_bias(config)
    for endings in (EMBEDDINGS, BIASES) if bias else (EMBEDDINGS,):
        before.one_of(endings)
    required(
        itertools.chain(
            row_findings(grown, size=size, head=True, bias=bias),
            old_row_findings(grown, before, old=old),
            [tie_finding(grown, config)],
        )
    )
    return {"held": [ASSERTIONS[1], ASSERTIONS[5]], "rows": size, "old_rows": old}


def _weights(directory: Path) -> StoredTensors:
    files = weight_files(directory)
    if not files:
        raise CheckpointError(f"{directory} has no model.safetensors", name="E-CHECKPOINT")
    return StoredTensors(*files)
