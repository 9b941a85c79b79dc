"""What a model computes in its own way when it trains on a CPU: attention and dropout, beside torch's."""

import pytest
import torch
from torch import nn

from extend.pretrain.objectives.cpu_attention import plain_attention
from extend.pretrain.objectives.cpu_dropout import dropout_for_cpu, dropped
from tests.models import tiny_model


@pytest.mark.parametrize("groups", [4, 2])
@pytest.mark.parametrize("mask", ["none", "bool", "float"])
def test_plain_attention_is_torchs(groups, mask):
    generator = torch.Generator().manual_seed(2)
    query = torch.randn(2, 4, 7, 8, generator=generator)
    key, value = (torch.randn(2, groups, 7, 8, generator=generator) for _ in range(2))
    seen = (torch.rand(2, 1, 7, 7, generator=generator) < 0.6) | torch.eye(7, dtype=torch.bool)
    given = {"none": None, "bool": seen, "float": torch.where(seen, 0.0, -1e30)}[mask]
    expected = nn.functional.scaled_dot_product_attention(query, key, value, given, enable_gqa=groups < 4)
    got, _ = plain_attention(nn.Identity(), query, key, value, given)
    torch.testing.assert_close(got, expected.transpose(1, 2), rtol=1e-5, atol=1e-6)


def test_dropout_keeps_its_share_and_its_mean_and_passes_the_gradient_of_what_is_kept():
    torch.manual_seed(0)
    values = torch.ones(501, 401, requires_grad=True)
    got = dropped(values, 0.1)
    kept = got != 0
    assert float(kept.float().mean()) == pytest.approx(0.9, abs=0.003)
    assert float(got.detach().mean()) == pytest.approx(1.0, abs=0.003)
    got.sum().backward()
    assert torch.equal(values.grad, got.detach())
    assert not torch.equal(dropped(values, 0.1) != 0, kept)
    assert dropped(values, 0.0) is values


@pytest.mark.parametrize("architecture", ["bert-mlm", "modernbert-no-bias", "deberta-v3"])
def test_dropout_modules_are_swapped_for_the_forward_pass_of_training_alone(architecture):
    model = tiny_model(architecture)
    modules = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    for module in modules:
        module.p = 0.25
    names = list(model.state_dict())
    values = torch.ones(64, 64, requires_grad=True)

    def drawn():
        torch.manual_seed(5)
        return [module(values) for module in modules]

    torch.manual_seed(5)
    expected = [dropped(values, 0.25) for _ in modules]
    before = drawn()
    model.train()
    with dropout_for_cpu(model):
        assert all(torch.equal(*pair) for pair in zip(drawn(), expected, strict=True))
        assert list(model.state_dict()) == names
    assert not any(torch.equal(*pair) for pair in zip(drawn(), expected, strict=True))
    model.eval()
    with dropout_for_cpu(model):
        assert all(torch.equal(*pair) for pair in zip(drawn(), before, strict=True))
