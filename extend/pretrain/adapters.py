"""Adapters beside a frozen encoder: LoRA, by peft, while the rows of new pieces are trained as ever.

Hu et al. 2021 (arXiv 2106.09685), equation 3: h = W x + (alpha / rank) B A x, with W frozen, A drawn and B
zero, so that an adapted model starts as the same function. The paper adapts the attention's query and value;
we adapt every linear layer inside the encoder, which Dettmers et al. 2023 (QLoRA, arXiv 2305.14314, section
4) found to matter more than the rank. The head, the pooler and every embedding stay out: new rows are trained
whole, as parameters of their own (`NewRows`), and peft never sees a tied weight.

The order of a run: `frozen` copies for keepers, `adapted`, then weights of a checkpoint put back by name (an
adapted layer's own weight is called `base_layer.weight`, its adapter `lora_A.default.weight` and `lora_B`),
training of `NewRows` with `adapter_parameters` beside its rows, `save_adapter`, `merged_`. Everything of the
base is frozen all along: with the adapter off (`adapter_off`) its answers on old pieces keep their bits.
"""

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from extend import store
from extend.architectures import architecture_of
from extend.errors import UsageError

ADAPTER = "default"
_OF_PEFT = "base_model.model."


def check_peft() -> None:
    """Raises UsageError E-EXTRA, which says what to install, where peft is not."""
    _peft()


def adapted(model: PreTrainedModel, *, rank: int, alpha: float, seed: int) -> PreTrainedModel:
    """The same model object with an adapter in every linear layer of its encoder; it alone asks gradients.

    A is drawn from `seed`, and the global random state stays as it was. Raises UsageError E-EXTRA without
    peft.
    """
    peft = _peft()
    names = _linear_layers(model)
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=names, lora_dropout=0.0, bias="none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(config, model, adapter_name=ADAPTER)
    return model


def adapter_parameters(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """The adapters' own parameters by the model's names for them; none in a model that is not adapted."""
    return {name: parameter for name, parameter in model.named_parameters() if _is_of_adapter(name)}


@contextlib.contextmanager
def adapter_off(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model answers as it would without its adapter."""
    layers = [layer for _, layer in _adapted_layers(model)]
    flags = [parameter.requires_grad for parameter in adapter_parameters(model).values()]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        for parameter, flag in zip(adapter_parameters(model).values(), flags, strict=True):
            parameter.requires_grad_(flag)


def save_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Write adapter_config.json and adapter_model.safetensors as peft does, into a folder being published.

    `PeftModel.from_pretrained` puts them on the model without its adapter (`unloaded_`), whose new rows are
    the trained ones; the adapter on the base that was grown is not what was trained.
    """
    peft = _peft()
    config = next(iter(cast(Any, model).peft_config.values())).to_dict()
    written = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    store.write_json(folder / "adapter_config.json", {**written, "inference_mode": True})
    tensors = peft.get_peft_model_state_dict(model, adapter_name=ADAPTER)
    save_file(
        {f"{_OF_PEFT}{name}": tensors[name].detach().cpu().contiguous() for name in sorted(tensors)},
        folder / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )


def merged_(model: PreTrainedModel) -> PreTrainedModel:
    """Add each adapter to its weight, W + (alpha / rank) B A, and leave plain layers; the same object.

    What was one sum of two products becomes one product: the answers move by rounding alone.
    """
    for _, layer in _adapted_layers(model):
        layer.merge(safe_merge=True)
    return unloaded_(model)


def unloaded_(model: PreTrainedModel) -> PreTrainedModel:
    """Put plain layers back in the place of adapted ones, with the weights they have; the same object."""
    for name, layer in _adapted_layers(model):
        model.set_submodule(name, layer.get_base_layer())
    for mark in ("peft_config", "_hf_peft_config_loaded"):
        if mark in vars(model):
            delattr(model, mark)
    return model


def _peft() -> Any:
    try:
        return importlib.import_module("peft")
    except ImportError as error:
        raise UsageError(
            "pretrain.adapt = 'lora' needs the package peft",
            name="E-EXTRA",
            done="nothing was changed",
            next="pip install 'extend[lora]'",
        ) from error


def _linear_layers(model: PreTrainedModel) -> list[str]:
    """Names of the linear layers of the encoder itself, the pooler left out."""
    encoder = architecture_of(model).encoder
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and name.startswith(f"{encoder}.")
        and not name.startswith(f"{encoder}.pooler.")
    ]


def _adapted_layers(model: PreTrainedModel) -> list[tuple[str, Any]]:
    return [
        (name, module)
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "get_base_layer")
    ]


def _is_of_adapter(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name
