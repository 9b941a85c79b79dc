"""What keeps the old languages: the divergence from the base, and the pull of old weights towards it."""

import math

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.masking import IGNORED, MaskedBatch
from extend.pretrain.keeping import BaseDistillation, PullToBase, frozen
from extend.pretrain.objectives import AllWeights, NewRows
from tests.models import EVERY_ARCHITECTURE, PIECES, tiny_model

ADDED, BATCH, LENGTH = 6, 4, 12
SIZE, OLD = len(PIECES), len(PIECES) - ADDED
REPLAYED = torch.tensor([True, False, True, False])


def batch() -> MaskedBatch:
    """Five predictions a sample; new pieces in the input and among the targets, two that do not count."""
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(5, SIZE, (BATCH, LENGTH), generator=generator)
    places = torch.stack(
        [torch.randperm(LENGTH, generator=generator)[:5].sort().values for _ in range(BATCH)]
    )
    positions = (places + LENGTH * torch.arange(BATCH)[:, None]).flatten()
    targets = ids.flatten()[positions]
    targets[3], targets[11] = OLD, SIZE - 1
    nothing = torch.zeros(2, dtype=torch.long)
    return MaskedBatch(
        ids,
        torch.cat((positions, nothing)),
        torch.cat((targets, nothing + IGNORED)),
        replayed=REPLAYED,
    )


def logits_of(model: PreTrainedModel, given: MaskedBatch) -> Tensor:
    """Scores at the predictions as transformers itself gives them, for every position."""
    output = model(input_ids=given.input_ids)
    scores = output["prediction_logits"] if "prediction_logits" in output else output["logits"]
    return scores.flatten(0, 1)[given.positions]


def slow_divergence(ours: Tensor, theirs: Tensor, given: MaskedBatch, *, temperature: float) -> Tensor:
    """One prediction after the other, one id after the other, in float64."""
    total = torch.zeros((), dtype=torch.float64)
    for number, (position, target) in enumerate(zip(given.positions, given.targets, strict=True)):
        if not REPLAYED[position // LENGTH] or not 0 <= target < OLD:
            continue
        weights = [
            torch.exp(one[number, :OLD].double() / temperature - one[number, :OLD].double().max())
            for one in (theirs, ours)
        ]
        wanted, found = (weight / weight.sum() for weight in weights)
        for index in range(OLD):
            total = total + wanted[index] * (torch.log(wanted[index]) - torch.log(found[index]))
    return total


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_the_loss_and_its_gradients_are_those_of_the_formula(architecture):
    base, student, given = (
        tiny_model(architecture, layers=1),
        tiny_model(architecture, layers=1, seed=1),
        batch(),
    )
    keeper = BaseDistillation(frozen(base), old=OLD, weight=0.7, temperature=2.0)
    scores = logits_of(student, given)
    loss = keeper.loss(given, lambda chosen: scores[chosen], predictions=40)
    with torch.no_grad():
        theirs = logits_of(base, given)
    wanted = 0.7 * 4.0 * slow_divergence(scores, theirs, given, temperature=2.0) / 40
    assert wanted.item() > 1e-4
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    rows = architecture_of(student).output(student)
    (ours,) = torch.autograd.grad(loss, rows, retain_graph=True)
    (slow,) = torch.autograd.grad(wanted, rows)
    torch.testing.assert_close(ours, slow.float(), rtol=1e-3, atol=1e-6)


def test_a_model_that_has_not_moved_loses_nothing():
    model, given = tiny_model(), batch()
    keeper = BaseDistillation(frozen(model), old=OLD, weight=1.0)
    scores = logits_of(model, given)
    assert abs(keeper.loss(given, lambda chosen: scores[chosen], predictions=20).item()) < 1e-6


def test_only_replayed_samples_count_and_none_is_zero():
    student, given = tiny_model(seed=1), batch()
    keeper = BaseDistillation(frozen(tiny_model()), old=OLD, weight=1.0)
    scores = logits_of(student, given)

    def loss(replayed: Tensor | None) -> Tensor:
        told = MaskedBatch(given.input_ids, given.positions, given.targets, replayed=replayed)
        return keeper.loss(told, lambda chosen: scores[chosen], predictions=20)

    assert loss(None).item() == 0.0 == loss(torch.zeros(BATCH, dtype=torch.bool)).item()
    each = [loss(torch.arange(BATCH) == sample) for sample in range(BATCH)]
    assert all(one.item() > 0 for one in each)
    both = loss(REPLAYED)
    assert both.item() == pytest.approx((each[0] + each[2]).item(), rel=1e-5)


def test_few_logits_at_a_time_are_the_same_loss_and_gradients():
    student, given = tiny_model(seed=1), batch()
    rows, found = architecture_of(student).output(student), []
    for at_once in (100, 2):
        keeper = BaseDistillation(frozen(tiny_model()), old=OLD, weight=1.0, at_once=at_once)
        scores, asked = logits_of(student, given), []

        def give(chosen: Tensor, scores: Tensor = scores, asked: list[int] = asked) -> Tensor:
            asked.append(len(chosen))
            return scores[chosen]

        loss = keeper.loss(given, give, predictions=20)
        (gradient,) = torch.autograd.grad(loss, rows)
        assert max(asked) <= at_once
        found.append((loss.detach(), gradient))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-7)


def test_a_softmax_over_some_ids_is_compared_over_those():
    """The scores of a softmax over active ids are cut from the full ones; so is what is wanted."""
    base, student, given = tiny_model(), tiny_model(seed=1), batch()
    ids = torch.arange(0, SIZE, 2)
    keeper = BaseDistillation(frozen(base), old=OLD, weight=1.0, temperature=1.0, ids=ids)
    scores, theirs = logits_of(student, given)[:, ids], logits_of(base, given)[:, ids]
    counted = [
        number
        for number in range(len(given.targets))
        if REPLAYED[given.positions[number] // LENGTH] and 0 <= given.targets[number] < OLD
    ]
    known = int((ids < OLD).sum())
    wanted = sum(
        nn.functional.kl_div(
            scores[number, :known].log_softmax(0), theirs[number, :known].softmax(0), reduction="sum"
        )
        for number in counted
    )
    loss = keeper.loss(given, lambda chosen: scores[chosen], predictions=1)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_parts_of_a_batch_add_up():
    student, given = tiny_model(seed=1), batch()
    keeper = BaseDistillation(frozen(tiny_model()), old=OLD, weight=1.0)
    losses = []
    for part in (given, given.part(0, 1), given.part(1, 3), given.part(3, BATCH)):
        scores = logits_of(student, part)
        loss = keeper.loss(part, lambda chosen, scores=scores: scores[chosen], predictions=given.predictions)
        losses.append(loss.item())
    assert losses[0] == pytest.approx(sum(losses[1:]), rel=1e-5)
    assert losses[3] == 0.0


def test_packed_documents_are_read_apart():
    """Two documents in one sample are as two samples: the teacher's attention stays inside each."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(5, OLD, (2, 6), generator=generator)
    positions, targets = torch.tensor([1, 4, 8, 10]), ids.flatten()[[1, 4, 8, 10]]
    apart = MaskedBatch(ids, positions, targets, replayed=torch.tensor([True, True]))
    packed = MaskedBatch(
        ids.reshape(1, 12),
        positions,
        targets,
        documents=torch.tensor([[0] * 6 + [1] * 6]),
        replayed=torch.tensor([True]),
    )
    keeper = BaseDistillation(frozen(tiny_model()), old=OLD, weight=1.0)
    scores = torch.randn(4, SIZE, generator=generator)
    found = [
        float(keeper.loss(given, lambda chosen: scores[chosen], predictions=4)) for given in (apart, packed)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_the_teacher_is_a_copy_that_no_gradient_reaches():
    model = tiny_model()
    base = frozen(model.train())
    assert not base.training
    assert not any(parameter.requires_grad for parameter in base.parameters())
    before = {name: parameter.clone() for name, parameter in base.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[name], parameter) for name, parameter in base.named_parameters())


@pytest.mark.parametrize("architecture", ["bert-pretraining", "modernbert", "eurobert", "deberta-v3"])
def test_old_weights_are_pulled_and_new_rows_are_not(architecture):
    base, model = tiny_model(architecture), tiny_model(architecture, seed=3)
    pull = PullToBase(frozen(base), strength=5.0, old=OLD)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    anchors = dict(base.named_parameters())
    pull.pull_(dict(model.named_parameters()), rate=0.02)
    tables = set()
    for name, parameter in model.named_parameters():
        wanted = before[name].double() - 0.02 * 5.0 * (before[name].double() - anchors[name].double())
        if parameter.shape[0] == SIZE:
            tables.add(name)
            assert torch.equal(parameter[OLD:], before[name][OLD:])
            wanted[OLD:] = before[name][OLD:].double()
        torch.testing.assert_close(parameter.double(), wanted, rtol=1e-5, atol=1e-7)
    assert len(tables) == len(architecture_of(model).vocabulary_parameters(model)) >= 1


def test_what_has_not_moved_stays_and_a_full_pull_gives_the_base_back():
    base, model = tiny_model(), tiny_model()
    frozen_base = frozen(base)
    pull = PullToBase(frozen_base, strength=3.0, old=OLD)
    pull.pull_(dict(model.named_parameters()), rate=0.1)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), base.parameters(), strict=True))
    other = tiny_model(seed=3)
    PullToBase(frozen_base, strength=1e9, old=SIZE).pull_(dict(other.named_parameters()), rate=1.0)
    for one, two in zip(other.parameters(), base.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-7)


def test_the_pull_is_the_same_whatever_the_gradients_were():
    """Decoupled: a weight that AdamW moves by large steps is held by the same share as one it leaves."""
    base, model = tiny_model(), tiny_model()
    rate, strength, steps = 0.01, 2.0, 20
    pull = PullToBase(frozen(base), strength=strength, old=OLD)
    weight = architecture_of(model).embedding(model)
    anchor = weight.detach().clone()
    with torch.no_grad():
        weight[:OLD] += 1.0
    optimizer = torch.optim.AdamW([weight], lr=rate, weight_decay=0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        pull.pull_(dict(model.named_parameters()), rate=rate)
    left = (weight[:OLD] - anchor[:OLD]).detach()
    torch.testing.assert_close(
        left, torch.full_like(left, math.pow(1 - rate * strength, steps)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("architecture", ["bert-pretraining", "bert-untied"])
def test_rows_that_an_objective_trains_apart_are_pulled_too(architecture):
    """With an active softmax the rows of active ids are parameters of their own; new ones alone are left."""
    base, model, ids = tiny_model(architecture), tiny_model(architecture, seed=3), torch.arange(1, SIZE, 3)
    objective = AllWeights(model, active=ids)
    before = {name: parameter.detach().clone() for name, parameter in objective.trained().items()}
    PullToBase(frozen(base), strength=1.0, old=OLD, ids=ids).pull_(objective.trained(), rate=0.5)
    tables, known = architecture_of(base), int((ids < OLD).sum())
    wanted = {"rows": tables.embedding(base), "outputs": tables.output(base), "biases": tables.bias(base)}
    found = {name: table for name, table in objective.trained().items() if name in wanted}
    assert len(found) == (2 if objective.vocabulary.is_tied else 3)
    for name, table in found.items():
        halfway = (before[name][:known] + wanted[name].detach()[ids][:known]) / 2
        torch.testing.assert_close(table.detach()[:known], halfway)
        assert torch.equal(table[known:], before[name][known:])
    alone = NewRows(model, first_new=OLD, active=ids)
    rows = alone.rows.detach().clone()
    PullToBase(frozen(base), strength=1.0, old=OLD, ids=ids).pull_(alone.trained(), rate=0.5)
    assert torch.equal(alone.rows, rows)


def test_parameters_that_the_base_lacks_are_left_alone():
    pull = PullToBase(frozen(tiny_model()), strength=1.0, old=OLD)
    rows = nn.Parameter(torch.ones(ADDED, 32))
    pull.pull_({"rows": rows}, rate=0.5)
    assert torch.equal(rows, torch.ones(ADDED, 32))
