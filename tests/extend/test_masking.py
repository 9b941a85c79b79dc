import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.masking import (
    IGNORED,
    MaskingRule,
    as_batch,
    choose_words,
    counter_bits,
    counter_uniform,
    mask_batch,
)
from extend.types import SpecialIds
from tests.oracles.masking import chosen_words

SPECIAL = SpecialIds(mask=4, pad=0, unk=1, start=2, end=3, unmaskable=frozenset(range(5)), vocab_size=50)


def sample_rows(seed: int, batch: int = 6, width: int = 23) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, 50, (batch, width))
    ids[:, 0] = SPECIAL.start
    return ids, generator.random((batch, width)) < 0.5


@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.15, 0.4]))
@settings(max_examples=60, deadline=None)
def test_chosen_words_are_those_of_the_plain_oracle(seed: int, rate: float) -> None:
    ids, starts = sample_rows(seed)
    maskable = ~np.isin(ids, list(SPECIAL.unmaskable))
    starts = starts | ~maskable
    starts[:, 0] = True
    starts[:, 1:] |= ~maskable[:, :-1]
    priority = counter_bits(seed, 1, np.arange(len(ids)), ids.shape[1])
    chosen = choose_words(starts, maskable, priority, rule=MaskingRule(rate=rate))
    for row in range(len(ids)):
        expected = (
            chosen_words(starts[row], maskable[row], priority[row], rate=rate)
            if maskable[row].any()
            else set()
        )
        assert set(np.flatnonzero(chosen[row])) == expected


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_special_tokens_are_never_predicted_nor_drawn(seed: int) -> None:
    ids, starts = sample_rows(seed)
    rule = MaskingRule(mask_share=0.0, random_share=1.0)
    masked, positions = mask_batch(ids, starts, np.arange(6), rule=rule, special=SPECIAL, seed=seed)
    assert not np.isin(ids.reshape(-1)[positions], list(SPECIAL.unmaskable)).any()
    assert not np.isin(masked.reshape(-1)[positions], list(SPECIAL.unmaskable)).any()
    untouched = np.setdiff1d(np.arange(ids.size), positions)
    assert (masked.reshape(-1)[untouched] == ids.reshape(-1)[untouched]).all()


def test_masks_belong_to_the_sample_not_to_the_batch() -> None:
    ids, starts = sample_rows(3)
    numbers = np.array([7, 1, 900, 33, 2**40, 5])
    together, _ = mask_batch(ids, starts, numbers, rule=MaskingRule(), special=SPECIAL, seed=5)
    for row in range(len(ids)):
        one, _ = mask_batch(
            ids[row : row + 1],
            starts[row : row + 1],
            numbers[row : row + 1],
            rule=MaskingRule(),
            special=SPECIAL,
            seed=5,
        )
        assert (one[0] == together[row]).all()


def test_shares_are_those_of_bert() -> None:
    ids = np.random.default_rng(1).integers(5, 50, (400, 128))
    masked, positions = mask_batch(
        ids, np.ones_like(ids, dtype=bool), np.arange(400), rule=MaskingRule(), special=SPECIAL, seed=1
    )
    before, after = ids.reshape(-1)[positions], masked.reshape(-1)[positions]
    assert len(positions) == 400 * round(0.15 * 128)
    assert (after == SPECIAL.mask).mean() == pytest.approx(0.8, abs=0.02)
    # a random replacement hits the token itself one time in 45
    assert (after == before).mean() == pytest.approx(0.1 + 0.1 / 45, abs=0.015)


def test_another_seed_gives_other_masks() -> None:
    ids, starts = sample_rows(1)
    first, second = (
        mask_batch(ids, starts, np.arange(6), rule=MaskingRule(), special=SPECIAL, seed=seed)[1]
        for seed in (1, 2)
    )
    assert set(first) != set(second)


def test_a_row_of_specials_predicts_nothing() -> None:
    ids = np.full((2, 9), SPECIAL.pad)
    _, positions = mask_batch(
        ids, np.ones((2, 9), bool), np.arange(2), rule=MaskingRule(), special=SPECIAL, seed=1
    )
    assert len(positions) == 0


def test_most_bounds_the_predictions() -> None:
    ids = np.random.default_rng(1).integers(5, 50, (4, 200))
    _, positions = mask_batch(
        ids, np.ones_like(ids, dtype=bool), np.arange(4), rule=MaskingRule(most=20), special=SPECIAL, seed=1
    )
    assert len(positions) == 4 * 20


def test_targets_are_the_original_ids() -> None:
    ids, starts = sample_rows(2)
    masked, positions = mask_batch(ids, starts, np.arange(6), rule=MaskingRule(), special=SPECIAL, seed=1)
    batch = as_batch(ids, masked, positions)
    assert batch.targets.tolist() == ids.reshape(-1)[positions].tolist()


def test_counter_draws_are_uniform_and_uncorrelated() -> None:
    draws = counter_uniform(1, 1, np.arange(500), 200)
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    assert draws.mean() == pytest.approx(0.5, abs=0.005)
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(draws[:, :-1].ravel(), draws[:, 1:].ravel())[0, 1]) < 0.01


def words_of_text(batch: int, width: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Rows of text as a multilingual tokenizer cuts it: words of 1 to 9 pieces, most of them short."""
    generator = np.random.default_rng(seed)
    lengths = generator.choice(
        np.arange(1, 10), size=batch * width, p=[0.42, 0.24, 0.14, 0.09, 0.05, 0.03, 0.015, 0.01, 0.005]
    )
    starts = np.zeros(lengths.sum(), dtype=bool)
    starts[np.cumsum(lengths) - lengths] = True
    ids = generator.integers(5, 50, (batch, width))
    ids[:, 0] = SPECIAL.start
    return ids, starts[: batch * width].reshape(batch, width)


@pytest.mark.parametrize("most", [None, 20])
def test_whole_words_fill_nearly_all_of_the_budget(most: int | None) -> None:
    ids, starts = words_of_text(400, 128)
    rule = MaskingRule(most=most)
    _, positions = mask_batch(ids, starts, np.arange(400), rule=rule, special=SPECIAL, seed=1)
    assert 0.97 < len(positions) / (400 * 19) <= 1.0


def test_predictions_are_padded_to_a_number_that_the_shape_decides() -> None:
    rule, counts = MaskingRule(), set()
    for seed in range(20):
        ids, starts = words_of_text(8, 40, seed=seed)
        ids[seed % 8, 20:] = SPECIAL.pad
        masked, positions = mask_batch(ids, starts, np.arange(8), rule=rule, special=SPECIAL, seed=seed)
        batch = as_batch(ids, masked, positions, offered=rule.offered(*ids.shape))
        counts.add(len(batch.targets))
        assert batch.predictions == len(positions) <= len(batch.targets)
        assert batch.positions[len(positions) :].tolist() == [0] * (len(batch.targets) - len(positions))
        assert set(batch.targets[len(positions) :].tolist()) <= {IGNORED}
    assert counts == {48}


def test_full_rows_of_short_words_fit_what_is_offered() -> None:
    ids = np.full((7, 64), 9)
    for rule in (MaskingRule(), MaskingRule(rate=0.4), MaskingRule(most=3), MaskingRule(rate=0.001)):
        _, positions = mask_batch(
            ids, np.ones_like(ids, bool), np.arange(7), rule=rule, special=SPECIAL, seed=1
        )
        offered = rule.offered(7, 64)
        assert len(positions) <= offered < len(positions) + 64
        assert offered % 8 == 0


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 9])
def test_parts_of_a_batch_are_the_batch(parts: int) -> None:
    ids, starts = words_of_text(9, 40)
    masked, positions = mask_batch(ids, starts, np.arange(9), rule=MaskingRule(), special=SPECIAL, seed=2)
    more = {name: torch.arange(9 * 40).reshape(9, 40) for name in ("segments", "documents")}
    whole = as_batch(
        ids,
        masked,
        positions,
        offered=MaskingRule().offered(9, 40),
        replayed=torch.arange(9) % 2 == 0,
        next_sentence=torch.arange(9),
        **more,
    )
    edges = np.linspace(0, 9, parts + 1).astype(int).tolist()
    cut = [whole.part(begin, end) for begin, end in itertools.pairwise(edges)]
    assert sum(part.predictions for part in cut) == whole.predictions
    sizes = {len(part.input_ids): set() for part in cut}
    found = []
    for begin, part in zip(edges, cut, strict=False):
        sizes[len(part.input_ids)].add(len(part.targets))
        counted = part.targets != IGNORED
        places = zip(part.positions[counted] + begin * 40, part.targets[counted], strict=True)
        found += [(int(place), int(target)) for place, target in places]
        assert part.documents is not None
        assert part.replayed is not None
        assert (part.documents == whole.documents[begin : begin + len(part.input_ids)]).all()
        assert (part.replayed == whole.replayed[begin : begin + len(part.input_ids)]).all()
    assert found == [
        (int(place), int(target)) for place, target in zip(positions, ids.reshape(-1)[positions], strict=True)
    ]
    assert torch.equal(torch.cat([part.input_ids for part in cut]), whole.input_ids)
    assert all(len(counts) == 1 for counts in sizes.values()), "parts of one size have one shape"


def test_replacements_can_be_chosen() -> None:
    ids = np.random.default_rng(1).integers(5, 50, (50, 64))
    rule, allowed = MaskingRule(mask_share=0.0, random_share=1.0), np.array([7, 11])
    masked, positions = mask_batch(
        ids,
        np.ones_like(ids, bool),
        np.arange(50),
        rule=rule,
        special=SPECIAL,
        seed=1,
        replacements=allowed,
    )
    assert set(masked.reshape(-1)[positions].tolist()) == {7, 11}
