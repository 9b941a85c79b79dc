"""Every initialiser keeps one contract; each formula is checked by hand."""

import importlib
import inspect
from dataclasses import MISSING, fields
from pkgutil import iter_modules

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import extend.initializers as room
from extend.initializers import BIASES, INITIALIZERS, MeanOfRows, NormalOfRows, Paper, SubwordMean
from tests.extend.initializer_inputs import (
    ADDED,
    BASE,
    HIDDEN,
    SEGMENTATIONS,
    UNKNOWN,
    a_base,
    call,
    made_initializer,
)


def test_every_initializer_class_is_registered():
    modules = [
        importlib.import_module(f"{room.__name__}.{found.name}") for found in iter_modules(room.__path__)
    ]
    classes = {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__ and "__call__" in vars(value)
    } - {room.Initializer, room.BiasRule}
    assert classes == {*INITIALIZERS.values(), *BIASES.values()}
    assert len(classes) == len(INITIALIZERS) + len(BIASES)


@pytest.mark.parametrize("kind", [*INITIALIZERS.values(), *BIASES.values()])
def test_what_a_method_needs_are_its_fields_without_a_default(kind):
    bare = {field.name for field in fields(kind) if field.default is MISSING}
    assert bare == kind.needs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", INITIALIZERS)
def test_contract(name, dtype):
    made = call(name, dtype=dtype)
    assert made.rows.shape == (ADDED, HIDDEN)
    assert made.bias.shape == (ADDED,)
    assert made.rows.dtype == made.bias.dtype == dtype
    assert len(made.origins) == ADDED
    assert all(origin.method == name for origin in made.origins)
    assert torch.isfinite(made.rows).all()
    assert torch.isfinite(made.bias).all()
    assert not made.rows.requires_grad


@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_seed_decides(name):
    first, again = call(name, seed=3), call(name, seed=3)
    assert torch.equal(first.rows, again.rows)
    assert torch.equal(first.bias, again.bias)
    assert first.origins == again.origins


@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"mean"}))
def test_another_seed_draws_other_rows(name):
    assert not torch.equal(call(name, seed=3).rows, call(name, seed=4).rows)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_base_and_the_global_generator_stay(name):
    base, bias = a_base()
    base.requires_grad_()
    before, before_bias = base.detach().clone(), bias.clone()
    torch.manual_seed(11)
    state = torch.get_rng_state()
    made = made_initializer(name)(
        base, bias, SEGMENTATIONS, torch.Generator().manual_seed(0), unknown=UNKNOWN
    )
    assert not made.rows.requires_grad
    assert torch.equal(base, before)
    assert torch.equal(bias, before_bias)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_nothing_to_add(name):
    base, bias = a_base()
    made = made_initializer(name, added=0)(base, bias, [], torch.Generator(), unknown=UNKNOWN)
    assert made.rows.shape == (0, HIDDEN)
    assert made.bias.shape == (0,)
    assert made.origins == ()


BY_HAND = torch.tensor([[1.0, 2, 3, 4, 5], [100, 100, 100, 100, 100], [3, 2, 1, 0, -1]])
BY_HAND_BIAS = torch.tensor([0.5, 9.0, -1.5])


def by_hand(initializer, segmentations):
    return initializer(BY_HAND, BY_HAND_BIAS, segmentations, torch.Generator().manual_seed(0), unknown=1)


def test_subword_is_the_mean_of_the_known_pieces():
    made = by_hand(SubwordMean(), [(0, 2), (0,), (2, 1, 2, 0, 2)])
    expected = [[2.0, 2, 2, 2, 2], [1, 2, 3, 4, 5], [2.5, 2, 1.5, 1, 0.5]]
    assert torch.equal(made.rows, torch.tensor(expected))
    assert torch.equal(made.bias, torch.tensor([-0.5, 0.5, -1.0]))
    assert made.origins[0].as_json() == {
        "method": "subword",
        "sources": [[0, 0.5], [2, 0.5]],
        "mixed": 2,
        "fallback": None,
        "why": None,
    }
    assert made.origins[2].sources == ((2, 0.25),) * 2 + ((0, 0.25),) + ((2, 0.25),)


def test_subword_falls_back_where_nothing_is_known():
    made = by_hand(SubwordMean(), [(1,), (0,), ()])
    drawn = by_hand(NormalOfRows(), [(1,), ()])
    assert torch.equal(made.rows[[0, 2]], drawn.rows)
    assert torch.equal(made.rows[1], BY_HAND[0])
    mean = float(BY_HAND_BIAS.mean())
    assert made.bias.tolist() == pytest.approx([mean, 0.5, mean])
    assert [origin.fallback for origin in made.origins] == ["normal", None, "normal"]
    assert made.origins[0].why == "every base piece of it is unknown"
    assert made.origins[2].why == "no base piece spells it"


def test_mean_is_the_mean_of_all_rows():
    made = by_hand(MeanOfRows(), [(0,), (1,)])
    expected = torch.tensor([104 / 3, 104 / 3, 104 / 3, 104 / 3, 104 / 3])
    torch.testing.assert_close(made.rows, expected.expand(2, 5))
    torch.testing.assert_close(made.bias, torch.full((2,), 8 / 3))


def test_normal_has_the_mean_and_deviation_of_each_dimension():
    made = by_hand(NormalOfRows(), [(0,)] * 40_000)
    torch.testing.assert_close(made.rows.mean(0), BY_HAND.mean(0), rtol=0.02, atol=0.02)
    torch.testing.assert_close(made.rows.std(0), BY_HAND.std(0, correction=0), rtol=0.02, atol=0.0)
    torch.testing.assert_close(made.bias, torch.full((40_000,), 8 / 3))


def test_paper_is_a_normal_cut_at_two_deviations_and_has_no_bias():
    made = by_hand(Paper(), [(0,)] * 40_000)
    assert float(made.rows.abs().max()) <= 0.04
    # the variance of a standard normal cut at two deviations is 0.7737
    assert float(made.rows.std()) == pytest.approx(0.02 * 0.7737**0.5, rel=0.01)
    assert abs(float(made.rows.mean())) < 1e-3
    assert torch.equal(made.bias, torch.zeros(40_000))
    wider = by_hand(Paper(std=0.5), [(0,)] * 1000)
    assert 0.9 < float(wider.rows.abs().max()) <= 1.0


def slow_subword_mean(base, segmentation):
    """One row by the definition, in float64."""
    known = [base[source].double() for source in segmentation if source != UNKNOWN]
    return sum(known) / len(known)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.integers(0, BASE - 1), max_size=6).map(lambda ids: (*ids, 0)), min_size=1, max_size=8
    ),
    st.randoms(use_true_random=False),
)
def test_subword_agrees_with_the_definition_in_any_order(segmentations, random):
    base, bias = a_base()
    generator = torch.Generator().manual_seed(0)
    made = SubwordMean()(base, bias, segmentations, generator, unknown=UNKNOWN)
    for row, segmentation in zip(made.rows, segmentations, strict=True):
        torch.testing.assert_close(row.double(), slow_subword_mean(base, segmentation), rtol=1e-5, atol=1e-6)
    order = list(range(len(segmentations)))
    random.shuffle(order)
    shuffled = SubwordMean()(base, bias, [segmentations[i] for i in order], generator, unknown=UNKNOWN)
    assert torch.equal(shuffled.rows, made.rows[order])


def test_threads_do_not_change_the_bytes():
    base, bias = a_base(rows=300, hidden=64)
    segmentations = [((7 * i) % 300, (11 * i + 3) % 300, (i * i) % 300) for i in range(2000)]
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            for name in INITIALIZERS:
                generator = torch.Generator().manual_seed(0)
                initializer = made_initializer(name, base=300, added=2000)
                made = initializer(base, bias, segmentations, generator, unknown=UNKNOWN)
                results.append((name, made.rows.numpy().tobytes() + made.bias.numpy().tobytes()))
    finally:
        torch.set_num_threads(threads)
    assert len(set(results)) == len(INITIALIZERS)


def test_the_rows_of_a_large_extension_take_seconds_not_minutes():
    import time

    base, bias = torch.randn(20_000, 768), torch.randn(20_000)
    segmentations = [(i % 20_000, (3 * i) % 20_000, (7 * i) % 20_000) for i in range(10_000)]
    started = time.monotonic()
    SubwordMean()(base, bias, segmentations, torch.Generator(), unknown=UNKNOWN)
    assert time.monotonic() - started < 10
