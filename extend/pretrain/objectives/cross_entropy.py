"""Cross-entropy over a large vocabulary, with its gradients, in one pass and without all of its logits.

The mean of -log softmax(W x + b)[target] has the gradients (softmax - onehot) in the scores, so the loss and
all gradients can be had while the scores of some predictions are at hand, and nothing of the size
(predictions, vocabulary) waits for the backward pass. The same idea as Liger's fused linear cross-entropy
(Hsu et al. 2024, arXiv 2410.10989, section 3.2); we differ in the shape of the parts. There, a part is so
many predictions that their scores are as large as their inputs, four for 150,000 rows, and each part reads
the whole decoder. Here all predictions that fit a budget go together, and on a CPU the decoder is read in
parts that stay in its cache, each cast, multiplied and summed up while it is there.

Scores lie as (vocabulary, predictions): every part of the decoder then reads and writes whole rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from extend.masking import IGNORED

CPU_PART = 2048
"""Decoder rows at a time on a CPU: in bfloat16 3 MB at a width of 768."""

AT_ONCE = {"cpu": 1 << 26, "cuda": 1 << 28}
"""Scores at a time: 448 predictions of 150,000 pieces on a CPU, 1,792 on a GPU."""

MULTIPLE = {"cuda": 64}
"""What the vocabulary is padded to inside the step, for the sake of tensor cores; elsewhere not at all."""


class Table(NamedTuple):
    """Decoder rows, shape (rows, width), and biases, shape (rows,), that follow those of the table before."""

    weight: Tensor
    bias: Tensor


@dataclass
class RowGradient:
    """The gradient of rows that decoder and input embedding share, on its way from the one to the other.

    Autograd would add the decoder's gradient to a second one of the same size, which is zero but for the
    tokens of the batch. Instead the decoder leaves its own here and the lookup, whose turn comes last, adds
    its few rows to it. Where they are smaller than the gradient, the decoder leaves the two factors of it, so
    that it is made only when the encoder's activations are gone. `table` is the number of the shared table.
    """

    table: int
    gradient: Tensor | None = None
    factors: "_Factors | None" = None

    def taken(self) -> Tensor | None:
        gradient = self.gradient if self.factors is None else self.factors.product()
        self.gradient = self.factors = None
        return gradient


@dataclass
class _Factors:
    """The gradient of one table: exponentials of its scores, shape (rows, predictions), that `shares`, shape
    (parts, predictions), make probabilities over the divisor, times states, shape (predictions, width); less
    `once`, shape (predictions,), times the state at the row of each target."""

    powers: Tensor
    states: Tensor
    shares: Tensor
    targets: Tensor
    once: Tensor
    part: int

    def scale(self, upstream: Tensor) -> None:
        self.shares, self.once = self.shares * upstream, self.once * upstream

    @torch.no_grad()
    def product(self) -> Tensor:
        whole = self.states.new_empty((len(self.powers), self.states.shape[1]), dtype=torch.float32)
        self.put_(whole, first_time=True)
        return whole

    def put_(self, gradient: Tensor, *, first_time: bool) -> None:
        """Shares are multiplied into the states, the smaller factor by far."""
        states = self.states.float()
        for here, shares in self._parts():
            product = self.powers[here] @ (states * shares[:, None]).to(self.states.dtype)
            gradient[here] = product if first_time else gradient[here].add_(product)
        gradient.index_add_(0, self.targets, states * -self.once[:, None])

    def put_bias_(self, gradient: Tensor, *, first_time: bool) -> None:
        for here, shares in self._parts():
            product = self.powers[here].float() @ shares
            gradient[here] = product if first_time else gradient[here].add_(product)
        gradient.index_add_(0, self.targets, -self.once)

    def _parts(self) -> Iterator[tuple[slice, Tensor]]:
        for number, begin in enumerate(range(0, len(self.powers), self.part)):
            yield slice(begin, begin + self.part), self.shares[number]


def fused_cross_entropy(
    prepared: Float[Tensor, "predictions width"],
    tables: Sequence[Table],
    targets: Int[Tensor, " predictions"],
    *,
    divisor: int,
    shared: RowGradient | None = None,
    at_once: int | None = None,
    multiple: int | None = None,
) -> Float[Tensor, ""]:
    """The sum of the cross-entropies of `targets`, row numbers through all tables, over `divisor`.

    Targets of IGNORED do not count. Products are made in the type of autocast where it is on, sums, softmax
    and gradients in float32. The result is differentiated once. With `shared` the gradient of that table's
    rows is left there instead of being given to autograd.

    Args:
        at_once: scores held at one time, in numbers. Default: AT_ONCE.
        multiple: rows are padded to one, which no target and no probability sees. Default: MULTIPLE.
    """
    device = prepared.device.type
    autocast = torch.is_autocast_enabled(device)
    plan = _Plan(
        dtype=torch.get_autocast_dtype(device) if autocast else prepared.dtype,
        divisor=divisor,
        at_once=at_once or AT_ONCE.get(device, AT_ONCE["cuda"]),
        multiple=multiple or MULTIPLE.get(device, 1),
        part=CPU_PART if device == "cpu" else None,
        differentiated=torch.is_grad_enabled(),
        shared=shared,
        sizes=tuple(len(table.weight) for table in tables),
    )
    weights = [
        table.weight.detach() if shared is not None and shared.table == number else table.weight
        for number, table in enumerate(tables)
    ]
    return cast(Tensor, _apply(prepared, targets, plan, *weights, *(table.bias for table in tables)))


@dataclass(frozen=True)
class _Plan:
    dtype: torch.dtype
    divisor: int
    at_once: int
    multiple: int
    part: int | None
    differentiated: bool
    shared: RowGradient | None
    sizes: tuple[int, ...]


@dataclass
class _Gradients:
    """Of the prepared states and of every table's rows and biases; None where none is wanted."""

    prepared: Tensor
    weights: list[Tensor | None]
    biases: list[Tensor | None]


class _FusedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, prepared: Tensor, targets: Tensor, plan: _Plan, *flat: Tensor) -> Tensor:
        count = len(flat) // 2
        pairs = zip(flat[:count], flat[count:], strict=True)
        tables = [_ready(Table(*pair), plan, last=number == count - 1) for number, pair in enumerate(pairs)]
        wanted = [plan.differentiated and need for need in ctx.needs_input_grad[3:]]
        most = max(1, plan.at_once // sum(len(table.weight) for table in tables))
        late = 0 < len(targets) <= min(most, 2 * prepared.shape[1])
        if plan.shared is not None and plan.differentiated:
            wanted[plan.shared.table] = not late
        found = _Gradients(
            torch.empty_like(prepared, dtype=torch.float32),
            [_empty(flat[number], need) for number, need in enumerate(wanted[:count])],
            [_empty(flat[count + number], need) for number, need in enumerate(wanted[count:])],
        )
        loss = torch.zeros((), device=prepared.device)
        with torch.autocast(prepared.device.type, enabled=False):
            for begin in range(0, len(targets), most):
                rows = slice(begin, begin + most)
                states, labels = prepared.detach()[rows].to(plan.dtype), targets[rows]
                loss += _part_(states, labels, tables, plan, into=found, rows=rows)
        if not len(targets):
            for gradient in (*found.weights, *found.biases):
                if gradient is not None:
                    gradient.zero_()
        ctx.found, ctx.shared, ctx.type = found, plan.shared, prepared.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Any:
        found: _Gradients = ctx.found
        ctx.found = None
        # what the loss was multiplied with: mostly 1, which on a CPU is seen without waiting
        same = upstream.device.type == "cpu" and float(upstream) == 1.0
        every = [found.prepared, *found.weights, *found.biases]
        prepared, *others = [tensor if same or tensor is None else tensor.mul_(upstream) for tensor in every]
        if ctx.shared is not None and ctx.shared.factors is not None:
            ctx.shared.factors.scale(upstream)
        elif ctx.shared is not None:
            ctx.shared.gradient, others[ctx.shared.table] = others[ctx.shared.table], None
        assert prepared is not None
        return prepared.to(ctx.type), None, None, *others


_apply: Any = torch.compiler.disable(_FusedCrossEntropy.apply)


def _part_(
    states: Tensor, targets: Tensor, tables: list[Table], plan: _Plan, *, into: _Gradients, rows: slice
) -> Tensor:
    """The loss of some predictions; their gradients are put, and added, into `into`."""
    counts, place = targets != IGNORED, targets.clamp(min=0)
    read = _read(states, place, tables, plan)
    normaliser = read.tops[-1] + read.summed.log()
    loss = (normaliser - read.chosen).masked_fill(~counts, 0.0).sum() / plan.divisor
    if not plan.differentiated:
        return loss
    shares = (read.tops - normaliser.masked_fill(~counts, torch.inf)).exp_().div_(plan.divisor)
    once = counts.float() / plan.divisor
    prepared, first, first_part = read.mixed.mul_(shares[-1, :, None]), 0, 0
    for number, (table, size) in enumerate(zip(tables, plan.sizes, strict=True)):
        local = place - first
        here = once.masked_fill((local < 0) | (local >= size), 0.0)
        local = local.clamp(0, max(0, size - 1))
        parts = -(-len(table.weight) // (plan.part or max(1, len(table.weight))))
        factors = _Factors(
            read.powers[first : first + size],
            states,
            shares[first_part : first_part + parts],
            local if size else local[:0],
            here if size else here[:0],
            plan.part or max(1, size),
        )
        _put_(factors, into, plan, number=number, first_time=rows.start == 0)
        if size:
            prepared.sub_(table.weight[local].to(plan.dtype).float().mul_(here[:, None]))
        first, first_part = first + size, first_part + parts
    into.prepared[rows] = prepared
    return loss


@dataclass(frozen=True)
class _Read:
    """What one pass over all tables gives for some predictions.

    Exponentials of scores with biases, less the maximum up to their part, shape (vocabulary, predictions);
    these maxima, shape (parts, predictions); the sum of the exponentials below the last of them, shape
    (predictions,), and that of the rows times them, shape (predictions, width); the targets' scores.
    """

    powers: Tensor
    tops: Tensor
    summed: Tensor
    mixed: Tensor
    chosen: Tensor


def _read(states: Tensor, place: Tensor, tables: list[Table], plan: _Plan) -> _Read:
    """Maximum, sum and mixture run along, and shrink when the maximum rises: each part of the decoder is read
    and cast once (Milakov and Gimelshein 2018, arXiv 1805.02867; with the mixture, Dao et al. 2022,
    arXiv 2205.14135, algorithm 1)."""
    height = sum(len(table.weight) for table in tables) if plan.differentiated else 0
    powers = states.new_empty((height, len(states)))
    transposed = states.T.contiguous()
    top = torch.full((len(states),), -torch.inf, device=states.device)
    summed, chosen, tops = torch.zeros_like(top), torch.zeros_like(top), []
    mixed = torch.zeros(states.shape, device=states.device)
    for table, first, here in _parts(tables, plan):
        weight = table.weight[here].to(plan.dtype)
        shifted = (weight @ transposed).float().add_(table.bias[here, None])
        local = place - (first + here.start)
        found = shifted.gather(0, local.clamp(0, len(shifted) - 1)[None])[0]
        chosen = torch.where((local >= 0) & (local < len(shifted)), found, chosen)
        higher = torch.maximum(top, shifted.amax(dim=0))
        shrunk = (top - higher).exp_()
        summed = summed.mul_(shrunk).add_(shifted.sub_(higher).exp_().sum(dim=0))
        if plan.differentiated:
            power = powers[first + here.start : first + here.stop].copy_(shifted)
            mixed.mul_(shrunk[:, None]).add_(power.T @ weight)
        top = higher
        tops.append(top)
    return _Read(powers, torch.stack(tops), summed, mixed, chosen)


def _put_(factors: _Factors, into: _Gradients, plan: _Plan, *, number: int, first_time: bool) -> None:
    """Where gradients are wanted; those of shared rows may wait for the end of the backward pass."""
    weight, bias = into.weights[number], into.biases[number]
    if weight is not None:
        factors.put_(weight, first_time=first_time)
    elif plan.shared is not None and plan.shared.table == number:
        plan.shared.factors = factors
    if bias is not None:
        factors.put_bias_(bias, first_time=first_time)


def _parts(tables: list[Table], plan: _Plan) -> Iterator[tuple[Table, int, slice]]:
    """A table, the rows before it, and the rows of one of its parts."""
    first = 0
    for table in tables:
        size = plan.part or max(1, len(table.weight))
        for begin in range(0, len(table.weight), size):
            yield table, first, slice(begin, min(begin + size, len(table.weight)))
        first += len(table.weight)


def _ready(table: Table, plan: _Plan, *, last: bool) -> Table:
    """Cast and padded at once where the table is not read in parts.

    The last one alone is padded: rows that follow must keep their numbers.
    """
    weight, bias = table.weight.detach(), table.bias.detach().float()
    more = -len(weight) % plan.multiple if last else 0
    if plan.part is None or more:
        weight = nn.functional.pad(weight.to(plan.dtype), (0, 0, 0, more))
        bias = nn.functional.pad(bias, (0, more), value=-torch.inf)
    return Table(weight, bias)


def _empty(like: Tensor, wanted: bool) -> Tensor | None:
    return torch.empty_like(like, dtype=torch.float32) if wanted else None
