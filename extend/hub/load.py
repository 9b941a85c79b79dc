"""Checkpoint folders to models and back. Nothing is random-initialised in silence, nothing foreign is run."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedModel

from extend import store
from extend.architectures import ARCHITECTURES
from extend.errors import CheckpointError, ExtendError, OutOfMemoryError, UsageError, escaped
from extend.hub.connection import quiet
from extend.hub.folder import WEIGHTS, missing_tensors, read_config, tensor_shapes, unsupported
from extend.hub.mapped import release_mapped
from extend.tensors import safetensors_chunks

LOADABLE: Mapping[str, type[PreTrainedModel]] = {
    name: architecture.model_class for name, architecture in ARCHITECTURES.items()
}
NEXT_SENTENCE = ("bert.pooler.dense.weight", "cls.seq_relationship.weight")
_BLOCK, _RELEASED_BYTES = 1 << 22, 1 << 26
Part = TypeVar("Part")
MICROSOFT_HEAD, LEGACY_HEAD = "lm_predictions.lm_head.bias", "cls.predictions.bias"


def load_pretraining_model(directory: Path) -> PreTrainedModel:
    """The model that `config.json` names, with its masked-language-model head, in float32 and eval mode.

    A BertForMaskedLM whose file also holds the pooler and the next-sentence head (mBERT's does) is loaded as
    BertForPreTraining, so that neither is lost. A DeBERTa gets the head that its file holds: Microsoft's
    files hold another than the one transformers gives a configuration without `legacy`.

    Raises UsageError (E-ARCHITECTURE) for other architectures and for models without that head,
    CheckpointError for missing, cut or non-finite weights, RefusedError for pickles and remote code.
    """
    config = read_config(directory)
    name = architecture_name(directory, config)
    shapes = tensor_shapes(directory)
    if name == "BertForMaskedLM" and all(tensor in shapes for tensor in NEXT_SENTENCE):
        name = "BertForPreTraining"
    given: dict[str, Any] = {}
    if name == "DebertaV2ForMaskedLM" and (MICROSOFT_HEAD in shapes) != (LEGACY_HEAD in shapes):
        given["legacy"] = LEGACY_HEAD in shapes
    model, report = _loaded(LOADABLE[name], directory, **given)
    missing = sorted(report["missing_keys"])
    if missing:
        raise missing_tensors(directory, missing)
    _check_finite(model, directory)
    return model.eval()


def architecture_name(directory: Path, config: Mapping[str, Any]) -> str:
    """The one architecture of `config`, when it can be extended.

    A configuration that names none (mDeBERTa's) is of the one class of its model type, when there is just
    one. Raises UsageError when there is none that can be extended, or its model type is not its own.
    """
    named, model_type = config.get("architectures"), config.get("model_type")
    if not named:
        named = [name for name, kind in LOADABLE.items() if kind.config_class.model_type == model_type]
        named = named if len(named) == 1 else None
    found = str(named[0]) if isinstance(named, list) and named else "no architecture"
    if found not in LOADABLE:
        raise unsupported(str(directory), found, ", ".join(LOADABLE))
    if model_type not in (None, LOADABLE[found].config_class.model_type):
        raise unsupported(str(directory), f"a {found} of model type {model_type}", ", ".join(LOADABLE))
    return found


def load_encoder(directory: Path) -> PreTrainedModel:
    """Any encoder that transformers itself knows, without heads, in float32 and eval mode.

    A pooler that the file does not hold is left out. Raises as `load_pretraining_model` does, but takes
    every architecture that AutoModel has.
    """
    config = read_config(directory)
    tensor_shapes(directory)
    if not _is_known(directory):
        raise UsageError(
            f"{directory} holds {escaped(str(config.get('model_type')))}, a model type transformers lacks",
            name="E-ARCHITECTURE",
        )
    model, report = _loaded(AutoModel, directory)
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise missing_tensors(directory, missing)
    if report["missing_keys"]:
        model.pooler = None
    _check_finite(model, directory)
    return model.eval()


def save_model(model: PreTrainedModel, directory: Path) -> None:
    """Write config.json and model.safetensors, tied weights once, into a folder that is being published.

    Files and names are those of `save_pretrained`, but the weights are written one after the other: no copy
    of the model is made. Raises CheckpointError, and writes nothing, when a weight is not finite.
    """
    _check_finite(model, directory)
    weights = model.state_dict()
    tensors = {name: weights[own] for name, own in _stored_names(model, weights, directory).items()}
    chunks = safetensors_chunks(tensors, metadata={"format": "pt"})
    store.write_chunks(directory / WEIGHTS, _released(chunks, len))


def _stored_names(model: PreTrainedModel, weights: Mapping[str, Tensor], directory: Path) -> dict[str, str]:
    """The names transformers gives the weights in a file, each with a name that the model has for it.

    It writes its config.json, and a file in which a number stands for each weight, which tells the names.
    """
    numbers = {value.data_ptr(): number for number, value in enumerate(weights.values())}
    stand_ins = {address: torch.tensor([number]) for address, number in numbers.items()}
    with quiet():
        model.save_pretrained(
            directory, state_dict={name: stand_ins[value.data_ptr()] for name, value in weights.items()}
        )
    own = list(weights)
    with safe_open(directory / WEIGHTS, "pt") as file:
        return {name: own[int(file.get_tensor(name))] for name in file.keys()}  # noqa: SIM118


def _is_known(directory: Path) -> bool:
    try:
        AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError):
        return False
    return True


def _loaded(loader: Any, directory: Path, **given: Any) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    """The model and its loading report; the global random state stays as it was.

    `given` are values for its configuration.
    """
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            model, report = loader.from_pretrained(
                directory,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                **given,
            )
    except ExtendError:
        raise
    except Exception as error:  # transformers raises nearly anything on a bad checkpoint
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise OutOfMemoryError(f"too little memory to load {directory}", name="E-MEMORY") from error
        raise CheckpointError(
            f"{directory} cannot be loaded",
            name="E-WEIGHTS",
            why=escaped(" ".join(str(error).split()), limit=300),
            next="check that config.json belongs to these weights",
        ) from error
    return model, report


@torch.no_grad()
def _check_finite(model: PreTrainedModel, directory: Path) -> None:
    """A finite sum has only finite terms, so most blocks are read once and nothing is kept of them."""
    for name, start, block in _released(_blocks(model), lambda found: found[2].nbytes):
        if math.isfinite(float(block.sum())):
            continue
        wrong = torch.isfinite(block).logical_not().nonzero()
        if len(wrong):
            shape = model.state_dict()[name].shape
            where = torch.unravel_index(torch.tensor(start + int(wrong[0])), shape)
            raise CheckpointError(
                f"{directory}: weight {name}{list(map(int, where))} is not a finite number",
                name="E-NONFINITE",
            )


def _blocks(model: PreTrainedModel) -> Iterator[tuple[str, int, Tensor]]:
    """Parts of the floating-point weights: name, number of the first entry, entries."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            for number, block in enumerate(value.reshape(-1).split(_BLOCK)):
                yield name, number * _BLOCK, block


def _released(parts: Iterable[Part], size: Callable[[Part], int]) -> Iterator[Part]:
    """The same parts; what had to be read of mapped files for each 64 MiB is let go."""
    since = 0
    for part in parts:
        yield part
        since += size(part)
        if since >= _RELEASED_BYTES:
            release_mapped()
            since = 0
    release_mapped()
