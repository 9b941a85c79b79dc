"""Held-out loss block by block: against transformers' own forward, and of old pieces alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from extend.architectures import architecture_of
from extend.blocks import in_order, open_stream
from extend.masking import MaskingRule, mask_batch
from extend.pretrain import held_out_loss
from extend.pretrain.held_out import HELD_OUT_SEED, held_out_losses
from tests.extend.training_runs import FIRST_NEW, LENGTH, SPECIAL, tiny, write_text

RULE = MaskingRule()


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_every_block_has_the_loss_that_transformers_gives_it(text: Path, kind: str) -> None:
    model, stream = tiny(kind).eval(), open_stream(text, "xx")
    losses, old = held_out_losses(model, stream, length=LENGTH, special=SPECIAL, rule=RULE)
    assert len(losses.sums) == len(stream.ids) // (LENGTH - 1)
    assert np.array_equal(losses.sums, old.sums)
    for number, (ids, starts) in enumerate(in_order(stream, length=LENGTH, most=4, special=SPECIAL)):
        masked, positions = mask_batch(
            ids[None], starts[None], np.array([number]), rule=RULE, special=SPECIAL, seed=HELD_OUT_SEED
        )
        with torch.no_grad():
            logits = model(input_ids=torch.from_numpy(masked))[0][0]  # BERT calls them prediction_logits
        rows = torch.from_numpy(positions)
        expected = nn.functional.cross_entropy(logits[rows], torch.from_numpy(ids)[rows], reduction="sum")
        assert losses.sums[number] == pytest.approx(float(expected), rel=1e-5)
        assert losses.counts[number] == len(positions)


def test_the_loss_is_the_blocks_mean_whatever_the_batch(text: Path) -> None:
    model, stream = tiny(), open_stream(text, "xx")
    losses, _ = held_out_losses(model, stream, length=LENGTH, special=SPECIAL, rule=RULE)
    for size in (3, 64):
        loss = held_out_loss(model, stream, length=LENGTH, special=SPECIAL, rule=RULE, batch_size=size)
        assert loss == pytest.approx(float(losses.sums.sum() / losses.counts.sum()), abs=1e-5)


def test_measuring_changes_nothing(text: Path) -> None:
    model = tiny().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [parameter.requires_grad for parameter in model.parameters()]
    state = torch.get_rng_state()
    held_out_losses(model, open_stream(text, "xx"), length=LENGTH, special=SPECIAL, rule=RULE)
    assert model.training
    assert flags == [parameter.requires_grad for parameter in model.parameters()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_old_predictions_do_not_feel_new_input_rows(text: Path) -> None:
    """Only old pieces are put in at random and predicted: where the text has no new piece, input rows of new
    ones are never read."""
    stream = open_stream(text, "xx")
    model = tiny("modernbert")
    untied = nn.Embedding.from_pretrained(model.get_input_embeddings().weight.detach().clone(), freeze=False)
    model.set_input_embeddings(untied)
    whole, old = held_out_losses(
        model, stream, length=LENGTH, special=SPECIAL, rule=RULE, old_pieces=FIRST_NEW
    )
    assert old.counts.sum() < whole.counts.sum()
    assert (old.counts <= whole.counts).all()
    new_in_block = [
        bool((ids >= FIRST_NEW).any())
        for ids, _ in in_order(stream, length=LENGTH, most=10_000, special=SPECIAL)
    ]
    assert any(new_in_block)
    with torch.no_grad():
        untied.weight[FIRST_NEW:] += torch.randn(SPECIAL.vocab_size - FIRST_NEW, 32)
    _, after = held_out_losses(model, stream, length=LENGTH, special=SPECIAL, rule=RULE, old_pieces=FIRST_NEW)
    without = ~np.array(new_in_block)
    assert np.array_equal(old.sums[without], after.sums[without])
    assert not np.array_equal(old.sums, after.sums)


def test_old_targets_are_all_the_old_ones(text: Path) -> None:
    model, stream = tiny(), open_stream(text, "xx")
    bias = architecture_of(model).bias(model)
    with torch.no_grad():
        bias[FIRST_NEW:] -= 100.0  # a new piece as target costs about 100 nats now
    whole, old = held_out_losses(
        model, stream, length=LENGTH, special=SPECIAL, rule=RULE, old_pieces=FIRST_NEW
    )
    new = whole.counts.sum() - old.counts.sum()
    assert whole.sums.sum() - old.sums.sum() == pytest.approx(100 * new, rel=0.1)
    assert old.sums.sum() / old.counts.sum() < 10
