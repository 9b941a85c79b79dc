"""Packed documents are encoded as if each stood alone, in every architecture and on every path offered."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.attention import attention_inputs, restarted_positions
from extend.errors import UsageError
from extend.masking import MaskedBatch
from tests.models import EVERY_ARCHITECTURE, PIECES, tiny_model

PACKABLE = [name for name in EVERY_ARCHITECTURE if not name.startswith("deberta")]
SIZES = ((5, 9, 3), (12, 4), (19,))
LENGTH = 20


def packed(sizes: tuple[tuple[int, ...], ...] = SIZES, length: int = LENGTH) -> MaskedBatch:
    """Random ids in documents of these sizes, padded to `length`."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.zeros(len(sizes), length, dtype=torch.long)
    documents = torch.full_like(ids, -1)
    for row, parts in enumerate(sizes):
        begin = 0
        for number, size in enumerate(parts):
            ids[row, begin : begin + size] = torch.randint(5, len(PIECES), (size,), generator=generator)
            documents[row, begin : begin + size] = number
            begin += size
    nothing = torch.zeros(0, dtype=torch.long)
    return MaskedBatch(ids, nothing, nothing, attention_mask=documents >= 0, documents=documents)


def hidden(model: PreTrainedModel, ids: Tensor, **inputs: Any) -> Tensor:
    """What `Architecture.encode` calls: the encoder on embedded tokens."""
    architecture = architecture_of(model)
    embedded = torch.nn.functional.embedding(ids, architecture.embedding(model))
    with torch.no_grad():
        output: Tensor = model.get_submodule(architecture.encoder)(inputs_embeds=embedded, **inputs)[0]
    return output


def alone(model: PreTrainedModel, batch: MaskedBatch) -> Tensor:
    """Each document in a batch of its own, its hidden states put where it lies when packed."""
    assert batch.documents is not None
    architecture = architecture_of(model)
    found: Tensor | None = None
    for row, documents in enumerate(batch.documents):
        for number in documents[documents >= 0].unique():
            here = documents == number
            ids = batch.input_ids[row, here].unsqueeze(0)
            embedded = torch.nn.functional.embedding(ids, architecture.embedding(model))
            with torch.no_grad():
                states = architecture.encode(model, embedded)[0]
            if found is None:
                found = torch.zeros(*batch.input_ids.shape, states.shape[-1])
            found[row, here] = states
    assert found is not None
    return found


def model_on(architecture: str, path: str, *, window: int = 0) -> PreTrainedModel:
    model = tiny_model(architecture)
    if window:
        model.config.sliding_window = window
    model.set_attn_implementation(path)
    return model


@pytest.mark.parametrize("path", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", PACKABLE)
def test_packed_documents_are_encoded_as_if_alone(architecture: str, path: str) -> None:
    model, batch = model_on(architecture, path), packed()
    real = batch.attention_mask
    expected = alone(model, batch)
    together = hidden(model, batch.input_ids, **attention_inputs(model, batch))
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together[real], expected[real], atol=1e-5, rtol=0)
    mixed = hidden(model, batch.input_ids, attention_mask=real)
    assert (mixed[real] - expected[real]).abs().max() > 1e-3, "without the mask documents see each other"


@pytest.mark.parametrize("path", ["sdpa", "eager"])
@pytest.mark.parametrize("window", [2, 4])
def test_layers_with_a_window_keep_it(path: str, window: int) -> None:
    model = model_on("modernbert", path, window=window)
    assert "sliding_attention" in model.config.layer_types
    batch = packed()
    real = batch.attention_mask
    inputs = attention_inputs(model, batch)
    together = hidden(model, batch.input_ids, **inputs)
    torch.testing.assert_close(together[real], alone(model, batch)[real], atol=1e-5, rtol=0)
    wide = hidden(
        model,
        batch.input_ids,
        attention_mask=inputs["attention_mask"]["full_attention"],
        position_ids=inputs["position_ids"],
    )
    assert (wide[real] - together[real]).abs().max() > 1e-4, "a mask without the window is another model"


@pytest.mark.parametrize("path", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ["bert-mlm", "xlm-roberta", "modernbert", "eurobert"])
def test_packing_holds_under_bfloat16(architecture: str, path: str) -> None:
    model, batch = model_on(architecture, path), packed()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inputs = attention_inputs(model, batch)
        together = hidden(model, batch.input_ids, **inputs)
        other = batch.input_ids.clone()
        assert batch.documents is not None
        other[batch.documents == 1] = 7
        changed = hidden(model, other, **inputs)
    assert torch.isfinite(together).all()
    first = batch.documents == 0
    assert torch.equal(together[first], changed[first]), "what another document says changes no bit"


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_full_blocks_need_nothing_and_padded_samples_a_plain_mask(architecture: str) -> None:
    model, batch = tiny_model(architecture), packed()
    assert attention_inputs(model, MaskedBatch(batch.input_ids, batch.positions, batch.targets)) == {}
    plain = MaskedBatch(
        batch.input_ids, batch.positions, batch.targets, batch.attention_mask, segments=batch.input_ids * 0
    )
    assert set(attention_inputs(model, plain)) == {"attention_mask", "token_type_ids"}
    assert attention_inputs(model, plain)["attention_mask"] is batch.attention_mask


def test_positions_start_anew_in_each_document() -> None:
    documents = torch.tensor([[0, 0, 0, 1, 1, -1], [0, 1, 2, 2, 2, 2]])
    assert restarted_positions(documents).tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 0, 1, 2, 3]]
    inputs = attention_inputs(tiny_model("roberta"), packed(((2, 3),), 6))
    assert inputs["position_ids"].tolist() == [[1, 2, 1, 2, 3, 0]], "counted from behind the padding id, 0"


@pytest.mark.parametrize("architecture", ["deberta-v2", "deberta-v3"])
def test_deberta_is_refused(architecture: str) -> None:
    with pytest.raises(UsageError, match="packed documents") as told:
        attention_inputs(tiny_model(architecture), packed())
    assert told.value.name == "E-PACKING"


def test_attention_without_an_additive_mask_is_refused() -> None:
    model = tiny_model("bert-mlm")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(UsageError, match="packed documents") as told:
        attention_inputs(model, packed())
    assert "flash_attention_2" in told.value.why
