"""Rows mixed from base rows agree with the definitions, and neither chunks nor the search change a bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from extend.initializers import INITIALIZERS, SubwordMean
from extend.initializers.linear_algebra import unit_rows
from extend.initializers.mixtures import Mixture, softmax_of_top, sparsemax
from extend.initializers.wechsel import orthogonal_map
from tests.extend.initializer_inputs import UNKNOWN, a_base, call, drawn, made_initializer
from tests.oracles import initializers as oracle

BASE, ADDED, HIDDEN = 23, 6, 5
SPELLED = [(2, 4), (1,), (6, 6, 1), (3,), (), (5, 2)]


def dense(mixture: Mixture, width: int) -> torch.Tensor:
    table = torch.zeros(len(mixture.lengths), width, dtype=torch.float64)
    rows = torch.arange(len(mixture.lengths)).repeat_interleave(mixture.lengths)
    table[rows, mixture.ids] = mixture.weights
    return table


SCORES = arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 40)),
    elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5]) | st.floats(-1, 1, width=32),
)


@settings(max_examples=200, deadline=None)
@given(SCORES, st.integers(1, 9))
def test_sparsemax_is_the_full_sort_wherever_the_search_starts(scores, first):
    found = sparsemax(torch.from_numpy(scores), first=first)
    weights = dense(found, scores.shape[1])
    expected = np.array([oracle.sparsemax(row) for row in scores])
    np.testing.assert_allclose(weights.numpy(), expected, atol=1e-12)
    torch.testing.assert_close(weights.sum(1), torch.ones(len(scores), dtype=torch.float64))
    assert bool((found.weights >= 0).all())
    whole = sparsemax(torch.from_numpy(scores), first=scores.shape[1])
    assert all(torch.equal(*pair) for pair in zip(_tensors(found), _tensors(whole), strict=True))


def _tensors(mixture: Mixture) -> list[torch.Tensor]:
    return [mixture.ids, mixture.weights, mixture.lengths]


def test_sparsemax_by_hand():
    found = sparsemax(torch.tensor([[0.1, 1.2, 0.8, -5.0], [3.0, 1.0, 1.5, 0.0]]), first=1)
    torch.testing.assert_close(
        dense(found, 4), torch.tensor([[0, 0.7, 0.3, 0], [1.0, 0, 0, 0]], dtype=torch.float64)
    )


@settings(max_examples=100, deadline=None)
@given(SCORES, st.integers(1, 12))
def test_softmax_of_the_largest_takes_lower_columns_among_equals(scores, count):
    weights = dense(softmax_of_top(torch.from_numpy(scores), count=count, temperature=0.1), scores.shape[1])
    expected = np.array([oracle.softmax_of_top(row, count, 0.1) for row in scores])
    np.testing.assert_allclose(weights.numpy(), expected, atol=1e-12)


def test_no_temperature_overflows():
    weights = dense(softmax_of_top(torch.tensor([[1.0, -1.0]]), temperature=1e-4), 2)
    torch.testing.assert_close(weights, torch.tensor([[1.0, 0.0]], dtype=torch.float64))


def weights_of(name: str, made, place: int, **given_settings) -> dict[int, float]:
    fields = {
        key: value.double().numpy() for key, value in vars(made).items() if isinstance(value, torch.Tensor)
    }
    if name == "focus":
        return oracle.focus_weights(BASE, fields["vectors"], place, UNKNOWN)
    if name == "ofa":
        return oracle.ofa_weights(BASE, fields["vectors"], place, UNKNOWN)
    if name == "clp":
        sparse = given_settings.get("sparse", False)
        return oracle.clp_weights(BASE, fields["helper"], place, UNKNOWN, sparse=sparse)
    pairs = tuple(side.double().numpy() for side in made.word_pairs)
    return oracle.wechsel_weights(BASE, fields["vectors"], fields["base_vectors"], pairs, place, UNKNOWN)


METHODS = [("focus", {}), ("wechsel", {}), ("ofa", {"dimensions": 99}), ("ofa", {"dimensions": 3})]
METHODS += [("clp", {}), ("clp", {"sparse": True})]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "given_settings"), METHODS)
def test_rows_biases_and_sources_are_those_of_the_definition(name, given_settings, dtype):
    base, bias = a_base(BASE, HIDDEN, dtype)
    initializer = made_initializer(name, BASE, ADDED, **given_settings)
    made = initializer(base, bias, SPELLED, torch.Generator().manual_seed(0), unknown=UNKNOWN)
    table, biases = base.double().numpy(), bias.double().numpy()
    if name == "ofa":
        table = oracle.truncated(table, given_settings["dimensions"])
    tolerance = {"rtol": 1e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-5}
    without = [1]
    for place in set(range(ADDED)) - set(without):
        weights = weights_of(name, initializer, place, **given_settings)
        if name == "ofa" and initializer.twins[place] >= 0:
            weights = {initializer.twins[place]: 1.0}
        expected = oracle.row(table, weights)
        np.testing.assert_allclose(made.rows[place].double().numpy(), expected, **tolerance)
        np.testing.assert_allclose(float(made.bias[place]), oracle.row(biases, weights), **tolerance)
        origin = made.origins[place]
        used = {index: weight for index, weight in weights.items() if weight}
        assert (origin.method, origin.fallback, origin.mixed or len(origin.sources)) == (
            name,
            None,
            len(used),
        )
        heaviest = sorted(used.values(), key=abs, reverse=True)[:10]
        assert [weight for _, weight in origin.sources] == pytest.approx(heaviest, abs=2e-6)
        assert all(weights[index] == pytest.approx(weight, abs=2e-6) for index, weight in origin.sources)
    for place in without:
        assert made.origins[place].fallback == "normal"
        assert made.origins[place].why.endswith("; every base piece of it is unknown")


@pytest.mark.parametrize(("name", "given_settings"), METHODS)
def test_chunks_change_no_bit(name, given_settings):
    base, bias = a_base(300, 64)
    spelled = [(2, 3)] * 50
    results = set()
    for rows_at_once in (1, 2, 7, 49, 50, 400):
        made = made_initializer(name, 300, 50, rows_at_once=rows_at_once, **given_settings)(
            base, bias, spelled, torch.Generator().manual_seed(0), unknown=UNKNOWN
        )
        results.add((made.rows.numpy().tobytes(), made.bias.numpy().tobytes(), made.origins))
    assert len(results) == 1


def test_cosines_of_unit_rows_are_whole_numbers_that_float64_holds():
    one, other = unit_rows(drawn(40, 300)), unit_rows(drawn(50, 300, seed=1))
    scaled = [(side * 2**26).to(torch.int64) for side in (one, other)]
    assert torch.equal(scaled[0].double() / 2**26, one)
    assert torch.equal(one @ other.T, (scaled[0] @ scaled[1].T).double() / 2.0**52)


def test_the_turn_is_orthogonal_and_undoes_a_rotation():
    source = drawn(30, 8)
    rotation = torch.linalg.qr(drawn(8, 8, seed=2).double())[0]
    found = orthogonal_map(source, (source.double() @ rotation).float())
    torch.testing.assert_close(found, rotation, atol=1e-6, rtol=0)
    torch.testing.assert_close(found @ found.T, torch.eye(8, dtype=torch.float64))


@pytest.mark.parametrize("name", ["focus", "wechsel", "ofa", "clp"])
def test_without_any_anchor_every_row_is_spelled(name):
    vectors = {key: torch.zeros_like(value) for key, value in vars(made_initializer(name)).items()
               if isinstance(value, torch.Tensor)}  # fmt: skip
    if name == "ofa":
        vectors["twins"] = (-1,) * 3
    made, plain = call(name, **vectors), call("subword")
    assert torch.equal(made.rows, plain.rows)
    assert torch.equal(made.bias, plain.bias)
    assert [origin.fallback for origin in made.origins] == ["subword", "normal", "subword"]
    assert made.origins[0].why == "no base piece has a vector"
    assert made.origins[0].sources == plain.origins[0].sources


def test_clp_whose_weights_cancel_is_spelled():
    base, bias = a_base(4, 5)
    helper = torch.tensor([[0.0, 0], [9, 9], [1, 0], [-1, 0], [1, 0], [0, 0], [1, 1]])
    made = INITIALIZERS["clp"](helper=helper)(
        base, bias, [(2,), (3,), (0,)], torch.Generator(), unknown=UNKNOWN
    )
    assert [origin.why for origin in made.origins] == [
        "the helper's cosines cancel", "the helper lacks it", "the helper's cosines cancel",
    ]  # fmt: skip
    spelled = SubwordMean()(base, bias, [(2,), (3,), (0,)], torch.Generator(), unknown=UNKNOWN)
    assert torch.equal(made.rows, spelled.rows)


@pytest.mark.parametrize("name", ["focus", "wechsel", "ofa", "clp", "script", "dictionary"])
def test_a_wrong_number_of_what_it_needs_is_refused(name):
    base, bias = a_base()
    with pytest.raises(ValueError, match=r"\d"):
        made_initializer(name, added=4)(base, bias, [(2,)] * 3, torch.Generator(), unknown=UNKNOWN)
