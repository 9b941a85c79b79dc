"""Draws with a covariance or a class, words of a dictionary, and the decoder biases one may choose."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.initializers import (
    BIASES,
    DictionaryMean,
    NormalOfRows,
    NormalOfScript,
    NormalWithCovariance,
)
from tests.extend.initializer_inputs import (
    ADDED,
    BASE,
    SEGMENTATIONS,
    UNKNOWN,
    a_base,
    call,
    drawn,
    made_rule,
)
from tests.oracles import initializers as oracle


def test_mvn_has_the_mean_and_the_covariance_of_the_rows():
    base, bias = a_base(40, 4)
    base = base @ torch.tensor([[1.0, 2, 0, 0], [0, 1, 0, 0], [0, 0, 3, 1], [0, 0, 0, 0.1]]) + 1
    made = NormalWithCovariance()(
        base, bias, [(0,)] * 60_000, torch.Generator().manual_seed(0), unknown=UNKNOWN
    )
    expected = np.cov(base.double().numpy().T, bias=True)
    np.testing.assert_allclose(np.cov(made.rows.double().numpy().T), expected, atol=0.03 * expected.max())
    np.testing.assert_allclose(made.rows.mean(0).numpy(), base.mean(0).numpy(), atol=0.05)
    torch.testing.assert_close(made.bias, bias.mean().expand(60_000))


def test_mvn_scaled_as_transformers_has_it_is_nearly_the_mean():
    base, bias = a_base(40, 4)
    arguments = (base, bias, [(0,)] * 50)
    near = NormalWithCovariance(scale=1e-9)(*arguments, torch.Generator().manual_seed(0), unknown=UNKNOWN)
    far = NormalWithCovariance()(*arguments, torch.Generator().manual_seed(0), unknown=UNKNOWN)
    torch.testing.assert_close(near.rows, base.mean(0).expand(50, 4), atol=1e-3, rtol=0)
    shrunk = (far.rows - base.mean(0)) * 1e-9**0.5
    torch.testing.assert_close(near.rows - base.mean(0), shrunk, atol=1e-6, rtol=0)


def test_mvn_of_fewer_rows_than_dimensions_stays_in_their_span():
    base, bias = a_base(3, 8)
    made = NormalWithCovariance()(base, bias, [(0,)] * 20, torch.Generator().manual_seed(0), unknown=UNKNOWN)
    assert torch.linalg.matrix_rank((made.rows - base.mean(0)).double(), atol=1e-4) == 2


def test_script_draws_each_class_by_itself():
    base, bias = drawn(60, 4), drawn(60, seed=9)
    base[:20], base[20:40] = base[:20] * 0.1 + 5, base[20:40] * 0.1 - 5
    classes = ("Latin initial",) * 20 + ("Latin medial",) * 20 + ("",) * 20
    added = ("Latin medial", "Latin initial", "Thai initial", "") * 2000
    made = NormalOfScript(classes + added)(
        base, bias, [(0,)] * 8000, torch.Generator().manual_seed(0), unknown=60 - 1
    )
    for place, members in ((0, slice(20, 40)), (1, slice(0, 20))):
        rows = made.rows[place::4]
        torch.testing.assert_close(rows.mean(0), base[members].mean(0), atol=0.01, rtol=0)
        torch.testing.assert_close(rows.std(0), base[members].std(0, correction=0), atol=0.01, rtol=0)
        torch.testing.assert_close(made.bias[place::4], bias[members].mean().expand(2000))
    assert [origin.fallback for origin in made.origins[:4]] == [None, None, "normal", "normal"]
    assert [origin.why for origin in made.origins[2:4]] == [
        "0 base pieces are Thai initial",
        "it has no script",
    ]
    fallback = made.rows.view(-1, 4, 4)[:, 2:].flatten(0, 1)
    torch.testing.assert_close(fallback.mean(0), base.mean(0), atol=0.2, rtol=0)


def test_script_leaves_the_unknown_piece_out():
    base, bias = a_base(4, 2)
    made = NormalOfScript(("a",) * 5, least=4)(base, bias, [(0,)], torch.Generator(), unknown=UNKNOWN)
    assert made.origins[0].why == "3 base pieces are a"


SPELLINGS = st.lists(st.lists(st.integers(0, BASE - 1), max_size=4).map(tuple), max_size=3).map(tuple)


@settings(max_examples=60, deadline=None)
@given(st.lists(SPELLINGS, min_size=1, max_size=5))
def test_dictionary_is_the_mean_over_translations(translations):
    base, bias = a_base()
    segmentations = [(2, 3)] * len(translations)
    made = DictionaryMean(tuple(translations))(
        base, bias, segmentations, torch.Generator().manual_seed(0), unknown=UNKNOWN
    )
    for place, spelled in enumerate(translations):
        weights = oracle.dictionary_weights(spelled, UNKNOWN) or {2: 0.5, 3: 0.5}
        expected = oracle.row(base.double().numpy(), weights)
        np.testing.assert_allclose(made.rows[place].numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(
            float(made.bias[place]), oracle.row(bias.double().numpy(), weights), atol=1e-5
        )
        known = any(index != UNKNOWN for ids in spelled for index in ids)
        assert made.origins[place].fallback == (None if known else "subword")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", BIASES)
def test_contract_of_biases(name, dtype):
    bias = a_base(dtype=dtype)[1]
    made = made_rule(name)(call("subword", dtype=dtype), bias, SEGMENTATIONS, unknown=UNKNOWN)
    assert made.shape == (ADDED,)
    assert made.dtype == dtype
    assert bool(torch.isfinite(made).all())


def test_zero_and_mean_biases():
    bias = a_base()[1]
    new = call("subword")
    assert made_rule("zero")(new, bias, SEGMENTATIONS, unknown=UNKNOWN).tolist() == [0, 0, 0]
    mean = made_rule("mean")(new, bias, SEGMENTATIONS, unknown=UNKNOWN)
    torch.testing.assert_close(mean, bias.mean().expand(3))


@pytest.mark.parametrize("name", ["subword", "focus", "wechsel", "ofa", "clp", "dictionary"])
def test_pieces_bias_is_the_own_one_of_rows_with_sources(name):
    new, bias = call(name), a_base()[1]
    made = made_rule("pieces")(new, bias, SEGMENTATIONS, unknown=UNKNOWN)
    assert torch.equal(made, new.bias)


@pytest.mark.parametrize("name", ["paper", "normal", "mean", "mvn"])
def test_pieces_bias_of_drawn_rows_is_the_spelling_pieces(name):
    bias = a_base()[1]
    made = made_rule("pieces")(call(name), bias, SEGMENTATIONS, unknown=UNKNOWN)
    expected = [(bias[2] + bias[4]) / 2, bias.mean(), bias[6]]
    torch.testing.assert_close(made, torch.stack(expected))


def test_frequency_bias_is_the_log_count_moved_to_where_base_pieces_stand():
    bias = torch.tensor([0.5, 7.0, -1.0, 2.0])
    counts = torch.tensor([9, 1000, 0, 99, 9, 0, 999])
    made = BIASES["frequency"](counts=counts)(call("mean"), bias, SEGMENTATIONS, unknown=UNKNOWN)
    shift = ((0.5 - np.log(10)) + (2.0 - np.log(100))) / 2
    expected = np.log([10.0, 1.0, 1000.0]) + shift
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-6)


def test_frequency_bias_without_a_counted_base_piece_has_the_mean_of_the_old():
    bias = torch.tensor([0.5, 7.0, -1.0, 2.0])
    counts = torch.tensor([0, 4, 0, 0, 9, 0, 999])
    made = BIASES["frequency"](counts=counts)(call("mean"), bias, SEGMENTATIONS, unknown=UNKNOWN)
    assert float(made.mean()) == pytest.approx(float(bias.mean()))
    assert float(made[2] - made[0]) == pytest.approx(np.log(100), rel=1e-5)


def test_frequency_counts_of_another_vocabulary_are_refused():
    with pytest.raises(ValueError, match="expected 10 counts, got 9"):
        BIASES["frequency"](counts=torch.zeros(9))(call("mean"), a_base()[1], SEGMENTATIONS, unknown=UNKNOWN)


def test_a_class_of_fewer_than_least_pieces_draws_as_the_rows_do():
    base, bias = a_base()
    classes = ("Latin initial",) * BASE + ("Latin initial",) * ADDED
    made = NormalOfScript(classes, least=BASE)(
        base, bias, SEGMENTATIONS, torch.Generator().manual_seed(4), unknown=UNKNOWN
    )
    generator = torch.Generator().manual_seed(4)
    torch.randn(ADDED, base.shape[1], generator=generator)
    plain = NormalOfRows()(base, bias, SEGMENTATIONS, generator, unknown=UNKNOWN)
    assert torch.equal(made.rows, plain.rows)
    assert torch.equal(made.bias, plain.bias)
