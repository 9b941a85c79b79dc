"""Adapters: the base stays the base, they train and come off, and peft reads what is written."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.errors import UsageError
from extend.masking import MaskedBatch
from extend.pretrain.adapters import (
    adapted,
    adapter_off,
    adapter_parameters,
    check_peft,
    merged_,
    save_adapter,
    unloaded_,
)
from extend.pretrain.objectives import NewRows
from tests.models import EVERY_ARCHITECTURE, PIECES, tiny_model

peft = pytest.importorskip("peft")
SIZE = len(PIECES)
OLD = SIZE - 6


def logits(model: PreTrainedModel) -> Tensor:
    ids = torch.randint(5, OLD, (2, 10), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        output = model.eval()(input_ids=ids)
    return output["prediction_logits"] if "prediction_logits" in output else output["logits"]


def trained(model: PreTrainedModel, *, steps: int = 3) -> PreTrainedModel:
    """New rows and adapters after some updates, weight decay among them."""
    objective = NewRows(model, first_new=OLD, more=adapter_parameters(model))
    optimizer = torch.optim.AdamW(objective.trained().values(), lr=0.05, weight_decay=0.1)
    generator = torch.Generator().manual_seed(5)
    for _ in range(steps):
        ids = torch.randint(5, SIZE, (3, 10), generator=generator)
        positions = torch.randperm(30, generator=generator)[:8].sort().values
        loss = objective(MaskedBatch(ids, positions, ids.flatten()[positions])).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    objective.finish_()
    return model


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_an_adapter_starts_as_the_same_function_in_every_linear_layer_of_the_encoder(architecture):
    model = tiny_model(architecture, layers=1)
    before, encoder = logits(model), f"{architecture_of(model).encoder}."
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    wanted = {name for name in linear if name.startswith(encoder) and "pooler" not in name}
    assert adapted(model, rank=2, alpha=4.0, seed=1) is model
    found = {name.split(".lora_")[0] for name in adapter_parameters(model)}
    assert found == wanted
    assert len(wanted) >= 4
    assert torch.equal(logits(model), before)
    asking = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert asking == adapter_parameters(model).keys()


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_with_the_adapter_off_the_base_answers_bit_for_bit(architecture):
    model = tiny_model(architecture, layers=1)
    before = logits(model)
    weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
    trained(adapted(model, rank=2, alpha=4.0, seed=1))
    assert not torch.allclose(logits(model)[..., :OLD], before[..., :OLD], atol=1e-4)
    with adapter_off(model):
        off = logits(model)
    assert torch.equal(off[..., :OLD], before[..., :OLD])
    assert not torch.equal(off[..., OLD:], before[..., OLD:])
    for name, parameter in unloaded_(model).named_parameters():
        known = slice(0, OLD) if parameter.shape[0] == SIZE else slice(None)
        assert torch.equal(parameter[known], weights[name][known]), name


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_a_merged_model_is_a_plain_one_that_answers_alike(architecture):
    model = tiny_model(architecture, layers=1)
    names = [name for name, _ in model.named_parameters()]
    trained(adapted(model, rank=2, alpha=4.0, seed=1))
    before = logits(model)
    assert merged_(model) is model
    assert [name for name, _ in model.named_parameters()] == names
    assert not any("lora" in type(module).__module__ for module in model.modules())
    torch.testing.assert_close(logits(model), before, rtol=1e-4, atol=1e-5)


def test_a_merged_model_is_saved_and_loaded_as_any_other(tmp_path: Path):
    model = merged_(trained(adapted(tiny_model(layers=1), rank=2, alpha=4.0, seed=1)))
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert torch.equal(logits(type(model).from_pretrained(tmp_path)), logits(model))


@pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)  # peft asks for it
@pytest.mark.parametrize("architecture", ["bert-pretraining", "modernbert", "xlm-roberta", "eurobert"])
def test_peft_puts_what_is_saved_on_the_model_without_it(tmp_path: Path, architecture):
    model = trained(adapted(tiny_model(architecture, layers=1), rank=2, alpha=4.0, seed=1))
    save_adapter(model, tmp_path)
    answers = logits(model)
    again = peft.PeftModel.from_pretrained(unloaded_(model), tmp_path)
    assert torch.equal(logits(again), answers)


def test_the_files_are_those_of_peft_and_the_same_bytes_every_time(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_adapter(trained(adapted(tiny_model(layers=1), rank=2, alpha=4.0, seed=1)), tmp_path / name)
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("one", "two")]
    assert files[0] == files[1] == ["adapter_config.json", "adapter_model.safetensors"]
    for name in files[0]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    config = json.loads((tmp_path / "one" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 2, 4.0)
    assert config["target_modules"] == sorted(config["target_modules"])
    assert config["base_model_name_or_path"] is None


def test_the_draw_follows_the_seed_and_leaves_the_random_state_alone():
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(7)
        model = adapted(tiny_model(layers=1), rank=2, alpha=4.0, seed=seed)
        assert torch.equal(torch.rand(3), torch.manual_seed(7) and torch.rand(3))
        drawn.append({name: parameter.clone() for name, parameter in adapter_parameters(model).items()})
    same = [all(torch.equal(drawn[0][name], other[name]) for name in drawn[0]) for other in drawn[1:]]
    assert same == [True, False]


def test_weights_put_back_by_name_go_on_as_they_were(tmp_path: Path):
    """As a checkpoint does it: a fresh model, adapted anew, then every parameter by its name."""
    model = trained(adapted(tiny_model(layers=1), rank=2, alpha=4.0, seed=1))
    saved = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    again = adapted(tiny_model(layers=1, seed=9), rank=2, alpha=4.0, seed=2)
    assert dict(again.named_parameters()).keys() == saved.keys()
    with torch.no_grad():
        for name, parameter in again.named_parameters():
            parameter.copy_(saved[name])
    assert torch.equal(logits(again), logits(model))
    pair = [trained(one) for one in (model, again)]
    assert torch.equal(logits(pair[0]), logits(pair[1]))


def test_turning_an_adapter_off_and_on_leaves_what_is_trained_as_it_was():
    model = adapted(tiny_model(layers=1), rank=2, alpha=4.0, seed=1)
    parameters = adapter_parameters(model)
    first = next(iter(parameters.values()))
    first.requires_grad_(False)
    with pytest.raises(RuntimeError, match="inside"), adapter_off(model):
        raise RuntimeError("inside")
    flags = [parameter.requires_grad for parameter in parameters.values()]
    assert flags == [False] + [True] * (len(flags) - 1)


def test_without_peft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    check_peft()
    monkeypatch.setitem(sys.modules, "peft", None)
    for call in (check_peft, lambda: adapted(tiny_model(layers=1), rank=2, alpha=4.0, seed=1)):
        with pytest.raises(UsageError, match="peft") as told:
            call()
        assert told.value.name == "E-EXTRA"
        assert "extend[lora]" in told.value.next


def test_tensors_are_named_as_peft_names_them(tmp_path: Path):
    model = adapted(tiny_model(layers=1), rank=2, alpha=4.0, seed=1)
    save_adapter(model, tmp_path)
    names = load_file(tmp_path / "adapter_model.safetensors")
    assert "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight" in names
    assert len(names) == len(adapter_parameters(model))
