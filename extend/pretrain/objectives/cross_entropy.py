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
    """Errors of the scores, shape (rows, predictions), and states, shape (predictions, width)."""

    errors: Tensor
    states: Tensor
    rows: int
    part: int
    scale: Tensor

    @torch.no_grad()
    def product(self) -> Tensor:
        whole = self.states.new_empty((self.rows, self.states.shape[1]), dtype=torch.float32)
        for begin in range(0, self.rows, self.part):
            here = slice(begin, min(begin + self.part, self.rows))
            torch.mul(self.errors[here] @ self.states, self.scale, out=whole[here])
        return whole


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
            ctx.shared.factors.scale = ctx.shared.factors.scale * upstream
        elif ctx.shared is not None:
            ctx.shared.gradient, others[ctx.shared.table] = others[ctx.shared.table], None
        assert prepared is not None
        return prepared.to(ctx.type), None, None, *others


_apply: Any = torch.compiler.disable(_FusedCrossEntropy.apply)


def _part_(
    states: Tensor, targets: Tensor, tables: list[Table], plan: _Plan, *, into: _Gradients, rows: slice
) -> Tensor:
    """The loss of some predictions; their gradients are put, and added, into `into`."""
    scores, normaliser = _scores(states, tables, plan)
    counts = targets != IGNORED
    place, column = targets.clamp(min=0), torch.arange(len(targets), device=targets.device)
    bias = torch.cat([table.bias for table in tables])
    losses = normaliser - (scores[place, column].float() + bias[place])
    loss = losses.masked_fill(~counts, 0.0).sum() / plan.divisor
    if not plan.differentiated:
        return loss
    normaliser = normaliser.masked_fill(~counts, torch.inf)
    summed = torch.zeros(states.shape, device=states.device)
    for number, table, first, here in _parts(tables, plan):
        part = scores[first + here.start : first + here.stop]
        errors = part.float().add_(table.bias[here, None]).sub_(normaliser).exp_()
        _less_one_(errors, place - (first + here.start), counts)
        part.copy_(errors)
        summed += part.T @ table.weight[here].to(plan.dtype)
        _put_(into.weights[number], here, part, states, plan, first_time=rows.start == 0)
        _put_bias_(into.biases[number], here, errors, plan, first_time=rows.start == 0)
    into.prepared[rows] = summed.div_(plan.divisor)
    if plan.shared is not None and into.weights[plan.shared.table] is None:
        plan.shared.factors = _factors(scores, states, tables, plan, number=plan.shared.table)
    return loss


def _scores(states: Tensor, tables: list[Table], plan: _Plan) -> tuple[Tensor, Tensor]:
    """Scores without biases, shape (vocabulary, predictions), and the log of the sum of their exponentials
    with biases, shape (predictions,): a running one (Milakov and Gimelshein 2018, arXiv 1805.02867)."""
    height = sum(len(table.weight) for table in tables)
    scores = states.new_empty((height, len(states)))
    transposed = states.T.contiguous()
    top = torch.full((len(states),), -torch.inf, device=states.device)
    summed = torch.zeros_like(top)
    for _, table, first, here in _parts(tables, plan):
        part = scores[first + here.start : first + here.stop]
        torch.mm(table.weight[here].to(plan.dtype), transposed, out=part)
        shifted = part.float() + table.bias[here, None]
        higher = torch.maximum(top, shifted.amax(dim=0))
        summed = summed * (top - higher).exp() + shifted.sub_(higher).exp_().sum(dim=0)
        top = higher
    return scores, top + summed.log()


def _factors(scores: Tensor, states: Tensor, tables: list[Table], plan: _Plan, *, number: int) -> _Factors:
    """Of the gradient of one table, when `scores` have become errors."""
    first, rows = sum(len(table.weight) for table in tables[:number]), plan.sizes[number]
    scale = torch.full((), 1 / plan.divisor, device=states.device)
    return _Factors(scores[first : first + rows], states, rows, plan.part or rows, scale)


def _less_one_(errors: Tensor, place: Tensor, counts: Tensor) -> None:
    """Take 1 from the probability of each target that lies in this part, without waiting for which do."""
    here = (place >= 0) & (place < len(errors)) & counts
    column = torch.arange(len(place), device=place.device)
    errors[place.clamp(0, len(errors) - 1), column] -= here.float()


def _put_(
    gradient: Tensor | None, here: slice, errors: Tensor, states: Tensor, plan: _Plan, *, first_time: bool
) -> None:
    if gradient is None:
        return
    target = gradient[here]  # shorter than the part where that is padded
    product = (errors @ states)[: len(target)]
    if first_time:
        torch.div(product, plan.divisor, out=target)
    else:
        target.add_(product, alpha=1 / plan.divisor)


def _put_bias_(
    gradient: Tensor | None, here: slice, errors: Tensor, plan: _Plan, *, first_time: bool
) -> None:
    if gradient is None:
        return
    target = gradient[here]
    product = errors.sum(dim=1)[: len(target)] / plan.divisor
    if first_time:
        target.copy_(product)
    else:
        target.add_(product)


def _parts(tables: list[Table], plan: _Plan) -> Iterator[tuple[int, Table, int, slice]]:
    """Number of a table, the table, the rows before it, and the rows of one of its parts."""
    first = 0
    for number, table in enumerate(tables):
        size = plan.part or max(1, len(table.weight))
        for begin in range(0, len(table.weight), size):
            yield number, table, first, slice(begin, min(begin + size, len(table.weight)))
        first += len(table.weight)


def _ready(table: Table, plan: _Plan, *, last: bool) -> Table:
    """Cast and padded once for both passes where the table is not read in parts.

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
