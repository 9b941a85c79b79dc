"""The LSTM layer against torch.nn.LSTM: outputs and gradients, whatever the lengths."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from ner.lstm import bidirectional


def packed_words(lengths: list[int], size: int, *, dtype: torch.dtype = torch.float64) -> PackedSequence:
    words = torch.randn(len(lengths), max(lengths), size, dtype=dtype)
    return pack_padded_sequence(words, torch.tensor(lengths), batch_first=True, enforce_sorted=False)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 999))
def test_outputs_and_gradients_are_those_of_torch(lengths: list[int], size: int, seed: int) -> None:
    torch.manual_seed(seed)
    lstm = nn.LSTM(size, 3, bidirectional=True).double()
    packed = packed_words(lengths, size)
    weight = torch.randn(len(packed.data), 6, dtype=torch.float64)
    found = []
    for layer in (lambda words: bidirectional(lstm, words), lambda words: lstm(words)[0]):
        data = packed.data.clone().requires_grad_()
        lstm.zero_grad()
        output = layer(packed._replace(data=data))
        assert output.batch_sizes.equal(packed.batch_sizes)
        (output.data * weight).sum().backward()
        found.append([output.data.detach(), data.grad, *(one.grad.clone() for one in lstm.parameters())])
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected)


def test_gradients_by_finite_differences() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(2, 2, bidirectional=True).double()
    packed = packed_words([3, 1, 2], 2)

    def outputs(data: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return bidirectional(lstm, packed._replace(data=data)).data

    assert torch.autograd.gradcheck(outputs, (packed.data.requires_grad_(), *lstm.parameters()))


@pytest.mark.parametrize("wanted", [True, False])
def test_frozen_inputs_and_no_gradient(wanted: bool) -> None:
    lstm = nn.LSTM(4, 3, bidirectional=True)
    packed = packed_words([5, 2], 4, dtype=torch.float32)
    with torch.set_grad_enabled(wanted):
        output = bidirectional(lstm, packed)
        torch.testing.assert_close(output.data, lstm(packed)[0].data)
    assert output.data.requires_grad is wanted


def test_half_precision_is_left_to_torch() -> None:
    lstm = nn.LSTM(4, 3, bidirectional=True).bfloat16()
    packed = packed_words([5, 2], 4, dtype=torch.bfloat16)
    assert bidirectional(lstm, packed).data.equal(lstm(packed)[0].data)
