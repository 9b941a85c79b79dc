"""Presets name settings that exist, and options given beside one win."""

import pytest

from extend.cli.pretraining import Keeping, Training, Watching, chosen
from extend.config import PretrainSettings, load_settings
from extend.errors import UsageError
from extend.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_settings_that_hold_together(name: str) -> None:
    settings = load_settings(None, preset(name))
    for key, value in PRESETS[name].items():
        section, field = key.split(".")
        assert getattr(getattr(settings, section), field) == value


def test_the_paper_masks_at_most_twenty_of_128_in_five_copies_with_sentence_pairs() -> None:
    paper = load_settings(None, preset("paper")).pretrain
    assert (paper.batch_size, paper.length, paper.learning_rate) == (32, 128, 2e-5)
    assert (paper.steps, paper.warmup_steps) == (500_000, 10_000)
    assert (paper.max_predictions, paper.duplicates, paper.nsp) == (20, 5, True)
    own = PretrainSettings()
    differing = {name for name in PretrainSettings.model_fields if getattr(paper, name) != getattr(own, name)}
    assert differing == {"max_predictions", "duplicates", "nsp"}


def test_an_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(UsageError) as raised:
        preset("papper")
    assert "paper" in (raised.value.next or "")


def test_an_option_wins_over_the_preset_and_what_is_not_given_is_left_alone() -> None:
    settings = chosen(
        "paper",
        Training(steps=7, nsp=False),
        Keeping(replay=["en=a.txt", "en=b.txt", "ru=c.txt"], distil_weight=0.5),
        Watching(watch=["ta=d.txt"]),
    )
    assert settings["pretrain.steps"] == 7
    assert settings["pretrain.nsp"] is False
    assert settings["pretrain.max_predictions"] == 20
    assert settings["pretrain.replay.en"] == ["a.txt", "b.txt"]
    read = load_settings(None, settings).pretrain
    assert (read.watch, read.distil_weight, read.steps) == ({"ta": ["d.txt"]}, 0.5, 7)
    assert chosen(None, Training(), Keeping(), Watching()) == {}
