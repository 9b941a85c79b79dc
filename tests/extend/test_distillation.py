"""Distilled rows bring the grown encoder nearer to the base's reading, and move nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.architectures import architecture_of
from extend.growth import grow_
from extend.pretrain.distillation import (
    Spelling,
    TwoSpellings,
    distil_rows_,
    distillation_loss,
    spelling,
    word_states,
)
from tests.models import tiny_model

OLD = 40


@given(
    words=st.lists(st.lists(st.integers(-1, 3), min_size=4, max_size=4), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_word_states_are_means_taken_one_by_one(words, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(len(words), 4, 5, generator=generator)
    found = word_states(hidden, torch.tensor(words), count=4)
    for text, numbers in enumerate(words):
        for word in range(4):
            own = [hidden[text, place] for place, number in enumerate(numbers) if number == word]
            expected = torch.stack(own).mean(dim=0) if own else torch.zeros(5)
            torch.testing.assert_close(found[text, word], expected)


def test_loss_counts_comparable_words_alone():
    student, teacher = torch.zeros(1, 3, 2), torch.tensor([[[1.0, 1.0], [9.0, 9.0], [3.0, 0.0]]])
    comparable = torch.tensor([[True, False, True]])
    assert distillation_loss(student, teacher, comparable) == (1.0 + 4.5) / 2
    assert distillation_loss(student, teacher, torch.zeros(1, 3, dtype=torch.bool)) == 0.0


def test_spelling_pads_to_the_longest():
    made = spelling([[(5, -1), (7, 0)], [(5, -1), (8, 0), (9, 1)]], pad=0)
    assert made.ids.tolist() == [[5, 7, 0], [5, 8, 9]]
    assert made.words.tolist() == [[-1, 0, -1], [-1, 0, 1]]
    assert made.mask.tolist() == [[1, 1, 0], [1, 1, 1]]


def grown(architecture: str, added: int = 3):
    model = tiny_model(architecture, vocab_size=OLD)
    generator = torch.Generator().manual_seed(3)
    hidden = architecture_of(model).embedding(model).shape[1]
    grow_(model, 0.05 * torch.randn(added, hidden, generator=generator), torch.zeros(added))
    return model


def pairs(seed: int, count: int = 6) -> TwoSpellings:
    """Texts of words that take two old pieces, some of which one new piece replaces."""
    generator = torch.Generator().manual_seed(seed)
    old, new = [], []
    for _ in range(count):
        words = torch.randint(0, 5, (4,), generator=generator).tolist()
        old.append([(2, -1)] + [(10 + 2 * word + part, n) for n, word in enumerate(words) for part in (0, 1)])
        shorter = [(2, -1)]
        for place, word in enumerate(words):
            one_piece = [(OLD + word, place)]
            shorter += one_piece if word < 3 else [(10 + 2 * word + part, place) for part in (0, 1)]
        new.append(shorter)
    return TwoSpellings(spelling(old, pad=0), spelling(new, pad=0), torch.ones(count, 4, dtype=torch.bool))


@pytest.mark.parametrize("architecture", ["bert-pretraining", "modernbert"])
def test_distilling_lowers_the_difference_and_keeps_what_is_old(architecture):
    model = grown(architecture)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [parameter.requires_grad for parameter in model.parameters()]
    losses = distil_rows_(model, [pairs(seed) for seed in range(40)], first_new=OLD, learning_rate=1e-2)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    rows = architecture_of(model).embedding(model)
    for name, value in model.state_dict().items():
        if value.shape == rows.shape:
            assert torch.equal(value[:OLD], before[name][:OLD])
            assert not torch.equal(value[OLD:], before[name][OLD:])
        else:
            assert torch.equal(value, before[name]), name
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert not model.training


def test_texts_that_are_spelt_alike_have_nothing_to_teach():
    model = grown("bert-mlm")
    side = pairs(1).old
    same = TwoSpellings(side, Spelling(*side), torch.ones(6, 4, dtype=torch.bool))
    rows = architecture_of(model).embedding(model).detach().clone()
    assert distil_rows_(model, [same], first_new=OLD) == [0.0]
    assert torch.equal(architecture_of(model).embedding(model), rows)
