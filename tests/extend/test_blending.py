"""Between two models: the ends bit for bit, the middle by the formula, and what does not belong together."""

import pytest
import torch
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.blending import between, blend_, check_alike
from extend.errors import CheckpointError, UsageError
from tests.models import EVERY_ARCHITECTURE, PIECES, tiny_model

SIZE = len(PIECES)
OLD = SIZE - 6


def bits(model: PreTrainedModel) -> dict[str, bytes]:
    return {name: parameter.detach().numpy().tobytes() for name, parameter in model.named_parameters()}


def pair(architecture: str = "bert-pretraining") -> tuple[PreTrainedModel, PreTrainedModel]:
    """Before and after, with what comparisons by value would miss: zeros of either sign."""
    before, after = (tiny_model(architecture, layers=1, seed=seed) for seed in (0, 1))
    with torch.no_grad():
        for model, sign in ((before, -1.0), (after, 1.0)):
            architecture_of(model).embedding(model)[7] = sign * torch.zeros(32)
            architecture_of(model).embedding(model)[8] = -torch.zeros(32)
    return before, after


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_the_ends_are_the_two_models_bit_for_bit(architecture):
    before, after = pair(architecture)
    wanted = {0.0: bits(before), 1.0: bits(after)}
    for t, those in wanted.items():
        _, blended = pair(architecture)
        blend_(blended, before, t=t)
        assert bits(blended) == those
    assert wanted[0.0] != wanted[1.0]


@pytest.mark.parametrize("t", [0.1, 0.3, 0.5, 0.7, 0.999])
def test_the_middle_is_the_weighted_mean(t):
    before, blended = pair()
    _, after = pair()
    blend_(blended, before, t=t)
    ends = zip(before.named_parameters(), after.parameters(), blended.parameters(), strict=True)
    for (name, low), high, found in ends:
        wanted = (1 - t) * low.detach().double() + t * high.detach().double()
        torch.testing.assert_close(found.detach().double(), wanted, rtol=1e-6, atol=1e-7, msg=name)


@pytest.mark.parametrize("t", [0.2, 0.5, 0.9])
def test_what_training_left_alone_keeps_its_bits(t):
    before, after = tiny_model(layers=1), tiny_model(layers=1)
    with torch.no_grad():
        architecture_of(after).embedding(after)[OLD:] += 1.0
    frozen = bits(before)
    blend_(after, before, t=t)
    moved = {name for name, content in bits(after).items() if content != frozen[name]}
    assert moved == {"bert.embeddings.word_embeddings.weight"}
    assert torch.equal(
        architecture_of(after).embedding(after)[:OLD], architecture_of(before).embedding(before)[:OLD]
    )
    negative = -torch.zeros(3)
    assert between(negative, negative, t).numpy().tobytes() == negative.numpy().tobytes()


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
@pytest.mark.parametrize("t", [0.0, 0.4])
def test_new_rows_stay_as_they_were_trained(architecture, t):
    before, blended = pair(architecture)
    _, after = pair(architecture)
    blend_(blended, before, t=t, old=OLD)
    tables = architecture_of(after).vocabulary_parameters(after)
    for name, table in architecture_of(blended).vocabulary_parameters(blended).items():
        assert torch.equal(table[OLD:], tables[name][OLD:])
        assert not torch.equal(table[:OLD], tables[name][:OLD])
    assert len(tables) >= 1


@pytest.mark.parametrize("t", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_0_and_1(t):
    before, after = pair()
    kept = bits(after)
    with pytest.raises(UsageError, match="from 0"):
        blend_(after, before, t=t)
    assert bits(after) == kept


def test_models_that_do_not_belong_together_are_refused_and_left_alone():
    before, kept = tiny_model(layers=1), bits(tiny_model(layers=1))
    others = {
        "BertForMaskedLM": tiny_model("bert-mlm", layers=1),
        "shape": tiny_model(layers=1, vocab_size=SIZE + 1),
        "only one": tiny_model(layers=2),
    }
    for why, other in others.items():
        with pytest.raises(CheckpointError) as told:
            blend_(before, other, t=0.5)
        assert told.value.name == "E-BLEND"
        assert why in told.value.why
        assert bits(before) == kept


def test_a_setting_that_changes_the_function_is_refused_and_one_of_training_is_not():
    before, after = tiny_model(layers=1), tiny_model(layers=1)
    after.config.hidden_dropout_prob = 0.4
    check_alike(before, after)
    after.config.num_attention_heads = 4
    with pytest.raises(CheckpointError, match="not one model") as told:
        check_alike(before, after)
    assert "num_attention_heads 2 before and 4 after" in told.value.why
