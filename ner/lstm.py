"""A bidirectional LSTM layer on a processor, with its gradient written out.

The layer is that of torch.nn.LSTM, whose parameters it takes (Hochreiter and Schmidhuber 1997, with forget
gates). There a step costs a graph of some twenty small operations, and weight gradients are added up step by
step. Here both directions run in one loop, what no step waits for is done for all steps at once, and weight
gradients are one product each. On a GPU cuDNN does better than either.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.utils.rnn import PackedSequence


def bidirectional(lstm: nn.LSTM, packed: PackedSequence) -> PackedSequence:
    """The outputs of a bidirectional nn.LSTM of one layer, up to rounding those of `lstm(packed)[0]`."""
    ours = packed.data.device.type == "cpu" and packed.data.dtype in (torch.float32, torch.float64)
    if not ours or torch.is_autocast_enabled("cpu"):
        result: PackedSequence = lstm(packed)[0]
        return result
    weights = [
        torch.stack([getattr(lstm, f"{name}_l0"), getattr(lstm, f"{name}_l0_reverse")])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    outputs: Tensor = _Bidirectional.apply(packed.data, *weights, packed.batch_sizes)
    return packed._replace(data=outputs)


class _Bidirectional(torch.autograd.Function):
    """Rows are words, step after step; the backward direction reads sentences turned round."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes them by position
        ctx: FunctionCtx,
        inputs: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        batch_sizes: Tensor,
    ) -> Tensor:
        turned, before = _orders(batch_sizes)
        size = weight_hh.shape[2]
        gates = inputs.new_empty(2, len(inputs), 4 * size)
        bias = bias_ih + bias_hh
        torch.addmm(bias[0], inputs, weight_ih[0].t(), out=gates[0])
        gates[1] = torch.addmm(bias[1], inputs, weight_ih[1].t())[turned]
        hidden, cells = (inputs.new_empty(2, len(inputs), size) for _ in range(2))
        into = weight_hh.transpose(1, 2)
        last: slice | None = None
        for here in _steps(batch_sizes):
            step = gates[:, here]
            if last is not None:
                prior = slice(last.start, last.start + here.stop - here.start)
                step.baddbmm_(hidden[:, prior], into)
            step[:, :, : 2 * size].sigmoid_()
            step[:, :, 2 * size : 3 * size].tanh_()
            step[:, :, 3 * size :].sigmoid_()
            enter, forget, new, out = step.split(size, dim=2)
            cell = torch.mul(enter, new, out=cells[:, here])
            if last is not None:
                cell.addcmul_(forget, cells[:, prior])
            torch.tanh(cell, out=hidden[:, here]).mul_(out)
            last = here
        ctx.save_for_backward(inputs, weight_ih, weight_hh, gates, hidden, cells, batch_sizes, turned, before)
        return torch.cat([hidden[0], hidden[1][turned]], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # type: ignore[attr-defined]
        inputs, weight_ih, weight_hh, gates, hidden, cells, batch_sizes, turned, before = saved
        size = weight_hh.shape[2]
        wanted = torch.stack([upstream[:, :size], upstream[turned, size:]])
        slopes = _gate_gradients(gates, cells, before, wanted, weight_hh, batch_sizes)
        own = torch.stack([slopes[0], slopes[1][turned]])
        states = _prior(hidden, before)
        of_inputs = None
        if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            of_inputs = (own[0] @ weight_ih[0]).addmm_(own[1], weight_ih[1])
        bias = own.sum(dim=1)
        of_ih = own.transpose(1, 2) @ inputs
        return of_inputs, of_ih, torch.bmm(slopes.transpose(1, 2), states), bias, bias, None


def _gate_gradients(  # noqa: PLR0917
    gates: Tensor, cells: Tensor, before: Tensor, wanted: Tensor, weight_hh: Tensor, batch_sizes: Tensor
) -> Tensor:
    """Gradients by the gates before their squashing; `wanted` are those by the outputs."""
    size = weight_hh.shape[2]
    enter, forget, new, out = gates.split(size, dim=2)
    bent = cells.tanh()
    slopes = torch.empty_like(gates)
    torch.mul(new * enter, 1 - enter, out=slopes[:, :, :size])
    torch.mul(_prior(cells, before) * forget, 1 - forget, out=slopes[:, :, size : 2 * size])
    torch.mul(enter, 1 - new * new, out=slopes[:, :, 2 * size : 3 * size])
    torch.mul(bent * out, 1 - out, out=slopes[:, :, 3 * size :])
    through = out * (1 - bent * bent)
    hidden = wanted
    cell = torch.zeros_like(wanted)
    steps = list(_steps(batch_sizes))
    for number in range(len(steps) - 1, -1, -1):
        here = steps[number]
        own, down = cell[:, here], hidden[:, here]
        own.addcmul_(down, through[:, here])
        step = slopes[:, here]
        step[:, :, : 3 * size].unflatten(2, (3, size)).mul_(own[:, :, None])
        step[:, :, 3 * size :].mul_(down)
        if number:
            start = steps[number - 1].start
            prior = slice(start, start + here.stop - here.start)
            torch.mul(own, forget[:, here], out=cell[:, prior])
            hidden[:, prior].baddbmm_(step, weight_hh)
    return slopes


def _steps(batch_sizes: Tensor) -> Iterator[slice]:
    start = 0
    for size in batch_sizes.tolist():
        yield slice(start, start + size)
        start += size


def _orders(batch_sizes: Tensor) -> tuple[Tensor, Tensor]:
    """For every row, the row its word has when all sentences are turned round, and the row of the step before
    (-1 for the first)."""
    sizes = batch_sizes.tolist()
    starts = torch.cat([batch_sizes.new_zeros(1), batch_sizes.cumsum(0)])[:-1]
    sentence = torch.cat([torch.arange(size) for size in sizes])
    step = torch.repeat_interleave(torch.arange(len(sizes)), batch_sizes)
    lengths = (batch_sizes[:, None] > torch.arange(sizes[0])).sum(dim=0)
    turned = starts[lengths[sentence] - 1 - step] + sentence
    before = torch.where(step > 0, starts[(step - 1).clamp(min=0)] + sentence, -1)
    return turned, before


def _prior(states: Tensor, before: Tensor) -> Tensor:
    """The states of the step before, 0 where there is none."""
    found = states[:, before.clamp(min=0)]
    found[:, before < 0] = 0
    return found
