"""Every objective against transformers' own forward, torch's cross-entropy and autograd."""

import copy
import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from extend.architectures import architecture_of
from extend.errors import UsageError
from extend.masking import IGNORED, MaskedBatch
from extend.pretrain import Stage, StageTrainer
from extend.pretrain.objectives import AllWeights, Embeddings, NewRows, objective_of
from extend.pretrain.objectives.cross_entropy import RowGradient, Table, fused_cross_entropy
from tests.models import EVERY_ARCHITECTURE, TIED, tiny_model

VOCAB, FIRST_NEW, BATCH, LENGTH = 73, 60, 4, 12
ACTIVE = torch.tensor([2, 3, 4, 7, 8, 11, 30, 31, 58, 60, 61, 65, 70])


def random_batch(ids: torch.Tensor | None = None, *, seed: int = 0, padded: int = 3) -> MaskedBatch:
    """Ids from `ids` (default: any), a third of them to be predicted, then predictions that do not count."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.arange(5, VOCAB) if ids is None else ids
    inputs = pool[torch.randint(len(pool), (BATCH, LENGTH), generator=generator)]
    positions = torch.randperm(BATCH * LENGTH, generator=generator)[:14].sort().values
    targets = pool[torch.randint(len(pool), (14,), generator=generator)]
    return MaskedBatch(
        inputs,
        nn.functional.pad(positions, (0, padded)),
        nn.functional.pad(targets, (0, padded), value=IGNORED),
    )


def oracle(model, batch: MaskedBatch, ids: torch.Tensor | None = None) -> torch.Tensor:
    """Transformers' logits of every position, those of `ids` in the softmax."""
    output = model(input_ids=batch.input_ids)
    scores = (output["prediction_logits"] if "prediction_logits" in output else output["logits"]).flatten(
        0, 1
    )
    counted = batch.targets != IGNORED
    scores, targets = scores[batch.positions[counted]], batch.targets[counted]
    if ids is not None:
        scores, targets = scores[:, ids], torch.searchsorted(ids, targets)
    return nn.functional.cross_entropy(scores, targets)


def gradients(model) -> dict[str, torch.Tensor | None]:
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def weights(model) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def trained_steps(objective, batches, *, optimizer=torch.optim.AdamW, rate=1e-2, dtype=None) -> list[float]:
    optimizer = optimizer(objective.trained().values(), lr=rate, weight_decay=0.1)
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            loss = objective(batch).total
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    objective.finish_()
    return losses


# the fused cross-entropy alone


def problem(sizes=(40, 23), *, predictions: int = 13, width: int = 6, spread: float = 1.0):
    generator = torch.Generator().manual_seed(1)
    prepared = torch.randn(predictions, width, generator=generator).requires_grad_()
    tables = [
        Table(
            (spread * torch.randn(size, width, generator=generator)).requires_grad_(),
            torch.randn(size, generator=generator).requires_grad_(),
        )
        for size in sizes
    ]
    targets = torch.randint(sum(sizes), (predictions,), generator=generator)
    return prepared, tables, targets


def plain(prepared, tables, targets, divisor):
    scores = torch.cat([nn.functional.linear(prepared, *table) for table in tables], dim=1)
    return nn.functional.cross_entropy(scores, targets, reduction="sum", ignore_index=IGNORED) / divisor


@pytest.mark.parametrize(
    ("sizes", "at_once", "multiple"),
    [((40, 23), None, 1), ((63,), 130, 1), ((40, 23), 63 * 5, 64), ((63,), 1, 64)],
)
def test_the_fused_cross_entropy_is_torchs(monkeypatch, sizes, at_once, multiple):
    """In one go and in parts of rows and predictions, padded or not; far scores want a running maximum."""
    monkeypatch.setattr("extend.pretrain.objectives.cross_entropy.CPU_PART", 16)
    prepared, tables, targets = problem(sizes, spread=20.0)
    targets[4] = IGNORED
    leaves = [prepared, *itertools.chain(*tables)]
    expected = plain(prepared, tables, targets, 7)
    wanted = torch.autograd.grad(3.0 * expected, leaves)
    loss = fused_cross_entropy(prepared, tables, targets, divisor=7, at_once=at_once, multiple=multiple)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    for got, want in zip(torch.autograd.grad(3.0 * loss, leaves), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * float(want.abs().max()))


@pytest.mark.parametrize("multiple", [1, 64])
@pytest.mark.parametrize("at_once", [None, 63 * 4])
def test_rows_without_gradient_get_none_and_a_shared_table_leaves_its_own(at_once, multiple):
    """Made at once, in parts of predictions, or as factors that are multiplied when it is taken."""
    prepared, tables, targets = problem(predictions=11)
    for part in tables[0]:
        part.requires_grad_(False)
    wanted = torch.autograd.grad(3.0 * plain(prepared, tables, targets, 2), [prepared, *tables[1]])
    shared = RowGradient(1)
    given = {"shared": shared, "at_once": at_once, "multiple": multiple}
    loss = fused_cross_entropy(prepared, tables, targets, divisor=2, **given)
    assert (shared.factors is None) == (at_once is not None)
    (3.0 * loss).backward()
    assert tables[0].weight.grad is tables[0].bias.grad is tables[1].weight.grad is None
    left = shared.taken()
    assert left is not None
    assert shared.taken() is None
    for got, want in zip((prepared.grad, left, tables[1].bias.grad), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ignored", [True, False])
def test_nothing_to_predict_is_a_loss_and_gradients_of_zero(ignored):
    prepared, tables, targets = problem()
    targets = torch.full_like(targets, IGNORED) if ignored else targets[:0]
    prepared = prepared if ignored else prepared.detach()[:0].requires_grad_()
    loss = fused_cross_entropy(prepared, tables, targets, divisor=1)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(not part.grad.any() for part in (prepared, *itertools.chain(*tables)))


def test_a_bad_score_is_not_hidden():
    prepared, tables, targets = problem()
    with torch.no_grad():
        tables[1].weight[3, 2] = torch.inf
    assert not torch.isfinite(fused_cross_entropy(prepared, tables, targets, divisor=1))


def test_in_bfloat16_the_loss_and_gradients_are_near():
    """The tolerance of bfloat16: 8 bits, against the same in float64."""
    prepared, tables, targets = problem((900, 300), predictions=64, width=32, spread=0.3)
    exact = [part.detach().double().requires_grad_() for part in (prepared, *itertools.chain(*tables))]
    pairs = [Table(*exact[1:3]), Table(*exact[3:5])]
    expected = plain(exact[0], pairs, targets, 64)
    wanted = torch.autograd.grad(expected, exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = fused_cross_entropy(prepared, tables, targets, divisor=64)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=2e-3)
    leaves = [prepared, *itertools.chain(*tables)]
    for got, want in zip(torch.autograd.grad(loss, leaves), wanted, strict=True):
        assert got.dtype == torch.float32
        assert float((got - want).norm() / want.norm()) < 1e-2


# objectives


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
@pytest.mark.parametrize("active", [None, ACTIVE])
def test_every_weight_has_transformers_gradient(architecture, active):
    theirs = tiny_model(architecture, vocab_size=VOCAB)
    ours = copy.deepcopy(theirs)
    batch = random_batch(active)
    expected = oracle(theirs, batch, active)
    expected.backward()
    objective = AllWeights(ours, active=active)
    loss = objective(batch).mlm
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    tables = {id(part) for part in architecture_of(ours).vocabulary_parameters(ours).values()}
    wanted = gradients(theirs)
    for name, parameter in ours.named_parameters():
        if active is None or id(parameter) not in tables:
            _same(parameter.grad, wanted[name], name)
    if active is not None:
        parts = architecture_of(theirs).vocabulary_parameters(theirs)
        got = objective.trained()
        _same(got["rows"].grad, parts["embedding"].grad[active], "rows")
        if architecture not in TIED:
            _same(got["outputs"].grad, parts["output"].grad[active], "outputs")
        if "bias" in parts:
            _same(got["biases"].grad, parts["bias"].grad[active], "biases")


def _same(got, want, name):
    assert (got is None) == (want is None), name
    if got is not None:
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6, msg=lambda told: f"{name}: {told}")


@pytest.mark.parametrize("architecture", ["bert-mlm", "modernbert-no-bias", "deberta-v3", "bert-untied"])
@pytest.mark.parametrize("active", [None, ACTIVE])
def test_new_rows_have_the_gradient_of_the_whole(architecture, active):
    theirs = tiny_model(architecture, vocab_size=VOCAB)
    ours, batch = copy.deepcopy(theirs), random_batch(active)
    oracle(theirs, batch, active).backward()
    parts = architecture_of(theirs).vocabulary_parameters(theirs)
    new = torch.arange(FIRST_NEW, VOCAB) if active is None else active[active >= FIRST_NEW]
    objective = NewRows(ours, first_new=FIRST_NEW, active=active)
    objective(batch).total.backward()
    for name, part in {"rows": "embedding", "outputs": "output", "biases": "bias"}.items():
        if name in objective.trained():
            _same(objective.trained()[name].grad, parts[part].grad[new], name)
    assert all(parameter.grad is None for parameter in ours.parameters())


@pytest.mark.parametrize("architecture", ["bert-pretraining", "eurobert-bias", "bert-untied", "roberta"])
@pytest.mark.parametrize("active", [None, ACTIVE])
def test_embeddings_move_and_the_encoder_keeps_its_bits(architecture, active):
    model = tiny_model(architecture, vocab_size=VOCAB)
    before, parts = weights(model), architecture_of(model).vocabulary_parameters(model)
    objective = objective_of(model, "embeddings", first_new=None, active=active)
    losses = trained_steps(objective, [random_batch(ACTIVE)] * 6)
    assert losses[-1] < losses[0]
    tables = {id(part) for name, part in parts.items() if name != "twin"}
    twin = parts.get("twin")
    for name, parameter in model.named_parameters():
        if id(parameter) in tables:
            assert not torch.equal(parameter, before[name]), name
        elif parameter is not twin:
            assert torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("architecture", ["bert-mlm", "bert-untied", "eurobert"])
@pytest.mark.parametrize("kind", ["all", "embeddings", "new-rows"])
def test_rows_outside_the_softmax_keep_their_bits(architecture, kind):
    """Weight decay is on, and other rows are read as inputs."""
    model = tiny_model(architecture, vocab_size=VOCAB)
    parts = architecture_of(model).vocabulary_parameters(model)
    before = {name: part.detach().clone() for name, part in parts.items()}
    batch = random_batch(ACTIVE)
    batch = replace(batch, input_ids=random_batch(seed=9).input_ids)
    losses = trained_steps(objective_of(model, kind, first_new=FIRST_NEW, active=ACTIVE), [batch] * 5)
    assert losses[-1] < losses[0]
    chosen = ACTIVE[ACTIVE >= FIRST_NEW] if kind == "new-rows" else ACTIVE
    outside = torch.ones(VOCAB, dtype=torch.bool)
    outside[chosen] = False
    for name, part in parts.items():
        assert torch.equal(part[outside], before[name][outside]), name
        assert (part[chosen] != before[name][chosen]).any(), name


def test_a_target_outside_the_softmax_is_told():
    batch = random_batch(ACTIVE)
    targets = batch.targets.clone()
    targets[2] = 50
    objective = AllWeights(tiny_model("bert-mlm", vocab_size=VOCAB), active=ACTIVE)
    with pytest.raises(RuntimeError, match="outside the softmax"):
        objective(replace(batch, targets=targets))


def test_there_must_be_new_rows():
    for first_new in (None, VOCAB):
        with pytest.raises(UsageError, match="no new rows"):
            objective_of(tiny_model("bert-mlm", vocab_size=VOCAB), "new-rows", first_new=first_new)


def test_parts_of_a_step_add_up():
    batch = replace(
        random_batch(), next_sentence=torch.tensor([0, 1, 1, 0]), segments=torch.zeros(4, 12).long()
    )
    whole, parts = (AllWeights(tiny_model("bert-pretraining", vocab_size=VOCAB)) for _ in range(2))
    expected = whole(batch)
    expected.total.backward()
    losses = [parts(batch.part(*bounds), predictions=14, pairs=4) for bounds in ((0, 1), (1, 4))]
    for loss in losses:
        loss.total.backward()
    for name in ("total", "mlm", "nsp"):
        summed = sum(getattr(loss, name) for loss in losses)
        torch.testing.assert_close(summed, getattr(expected, name), rtol=1e-6, atol=1e-6)
    for name, got in gradients(parts.model).items():
        _same(got, gradients(whole.model)[name], name)


@pytest.mark.parametrize("make", [AllWeights, Embeddings, lambda model: NewRows(model, first_new=FIRST_NEW)])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_same_steps_give_the_same_bits(make, dtype):
    ends = []
    for _ in range(2):
        model = tiny_model("bert-mlm", vocab_size=VOCAB).train()
        torch.manual_seed(3)
        batches = [random_batch(seed=seed) for seed in range(4)]
        losses = trained_steps(make(model), batches, dtype=dtype)
        ends.append((losses, weights(model)))
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(value, ends[1][1][name]) for name, value in ends[0][1].items())


@pytest.mark.parametrize(("dtype", "tolerance"), [(None, 1e-6), (torch.bfloat16, 5e-3)])
def test_the_loss_curve_is_that_of_a_plain_loop(dtype, tolerance):
    """Twelve steps beside transformers' forward and torch's cross-entropy in float32. Not of AdamW,
    whose first steps follow the signs of gradients, which rounding turns."""
    ours, theirs = (tiny_model("bert-mlm", vocab_size=VOCAB) for _ in range(2))
    batches = [random_batch(seed=step % 2) for step in range(12)]
    optimizer, expected = torch.optim.SGD(theirs.parameters(), lr=0.1, weight_decay=0.1), []
    for batch in batches:
        optimizer.zero_grad()
        loss = oracle(theirs, batch)
        loss.backward()
        optimizer.step()
        expected.append(float(loss.detach()))
    got = trained_steps(AllWeights(ours), batches, optimizer=torch.optim.SGD, rate=0.1, dtype=dtype)
    assert got == pytest.approx(expected, rel=tolerance)
    assert expected[-2] < 0.9 * expected[0]


class Doubling:
    """A keeper that adds the cross-entropy of every second prediction again."""

    def loss(self, batch, scores, *, predictions):
        chosen = torch.arange(0, 14, 2)
        summed = nn.functional.cross_entropy(scores(chosen), batch.targets[chosen], reduction="sum")
        return summed / predictions


def test_keepers_add_to_loss_and_gradient():
    batch, (ours, theirs) = random_batch(), (tiny_model("bert-mlm", vocab_size=VOCAB) for _ in range(2))
    half = replace(batch, positions=batch.positions[:14:2], targets=batch.targets[:14:2])
    expected = oracle(theirs, batch) + oracle(theirs, half) * 7 / 14
    expected.backward()
    losses = AllWeights(ours, keepers=[Doubling()])(batch)
    losses.total.backward()
    torch.testing.assert_close(losses.total, expected, rtol=1e-6, atol=1e-6)
    assert float(losses.mlm.detach()) < float(losses.total.detach())
    for name, got in gradients(ours).items():
        _same(got, gradients(theirs)[name], name)


def test_more_parameters_are_trained_beside_new_rows():
    model = tiny_model("bert-mlm", vocab_size=VOCAB)
    name = "bert.encoder.layer.0.output.dense.weight"
    before = weights(model)
    more = {name: model.get_parameter(name)}
    trained_steps(objective_of(model, "new-rows", first_new=FIRST_NEW, more=more), [random_batch()] * 2)
    moved = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    parts = architecture_of(model).vocabulary_parameters(model).values()
    vocabulary = {name for name, value in model.named_parameters() if any(value is part for part in parts)}
    assert moved == vocabulary | {name}


# attention in bfloat16 on a CPU


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
@pytest.mark.parametrize("padded", [False, True])
def test_attention_for_cpus_is_that_of_the_model(architecture, padded):
    """Under autocast the loss is near the float32 one, with and without a mask of padding."""
    model, batch = tiny_model(architecture, vocab_size=VOCAB), random_batch()
    if padded:
        batch = replace(batch, attention_mask=torch.arange(LENGTH).expand(BATCH, -1) < LENGTH - 3)
    expected = AllWeights(model)(batch).mlm
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = AllWeights(model)(batch).mlm
    assert float(got.detach()) == pytest.approx(float(expected.detach()), rel=5e-3)
    assert model.config._attn_implementation in ("sdpa", "eager")


# an update


@pytest.mark.parametrize("clip", [0.01, 100.0])
def test_an_update_is_that_of_gradients_clipped_by_torch(clip):
    """Twice, so that what AdamW was told for one update is not left for the next."""
    ours, theirs = (tiny_model("bert-mlm", vocab_size=VOCAB) for _ in range(2))
    stage = Stage("whole", 10, 1e-2, 1, "all", None)
    given = {"seed": 1, "weight_decay": 0.1, "dtype": None}
    got = StageTrainer(ours, stage, clip=clip, **given)
    expected = StageTrainer(theirs, stage, clip=1e9, **given)
    for step, bound in enumerate((clip, 1e9)):
        got.clip = bound
        results = [one.measure(random_batch(seed=step), step, step=step) for one in (got, expected)]
        assert results[0].grad_norm == pytest.approx(results[1].grad_norm, rel=1e-5)
        nn.utils.clip_grad_norm_(theirs.parameters(), bound)
        got.update(results[0])
        expected.update(results[1])
        for name, value in weights(ours).items():
            torch.testing.assert_close(value, weights(theirs)[name], rtol=1e-4, atol=1e-5, msg=name)
