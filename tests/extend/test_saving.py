"""Models are written as transformers writes them; what is mapped of their files leaves memory unharmed."""

import filecmp
import re
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from extend import growth
from extend.architectures import architecture_of
from extend.errors import CheckpointError
from extend.growth import grow_
from extend.hub import load, load_pretraining_model, save_model
from extend.hub.mapped import release_mapped
from tests.models import EVERY_ARCHITECTURE, tiny_checkpoint, tiny_model


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
@pytest.mark.parametrize("loaded", [False, True])
def test_the_files_are_those_of_save_pretrained(architecture: str, loaded: bool, tmp_path: Path) -> None:
    """Names, values, order, config.json: every byte; nothing is missing or left over when they are read."""
    model = tiny_model(architecture, hidden=16, layers=1)
    if loaded:
        model = load_pretraining_model(tiny_checkpoint(tmp_path / "base", architecture=architecture))
    grow_(model, torch.ones(3, model.config.hidden_size), torch.zeros(3))
    model.save_pretrained(tmp_path / "theirs")
    (tmp_path / "ours").mkdir()
    save_model(model, tmp_path / "ours")
    names = sorted(path.name for path in (tmp_path / "theirs").iterdir())
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == names
    assert all(
        filecmp.cmp(tmp_path / "ours" / name, tmp_path / "theirs" / name, shallow=False) for name in names
    )
    again, report = type(model).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert same_weights(again, model)


def same_weights(one: PreTrainedModel, other: PreTrainedModel) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def mapped_kilobytes(directory: Path) -> int:
    """What Linux counts as memory of the folder's files."""
    text = Path("/proc/self/smaps").read_text(encoding="utf-8")
    found = re.findall(rf"{re.escape(str(directory))}/model\.safetensors\n(?:.*\n)*?Rss: +(\d+) kB", text)
    return sum(map(int, found))


linux = pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="asks Linux")


@linux
def test_pages_that_were_read_leave_memory_and_come_back(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "base", hidden=64)
    model, expected = load_pretraining_model(folder), tiny_model(hidden=64)
    assert mapped_kilobytes(folder) == 0  # the check on loading read all of it
    assert same_weights(model, expected)
    assert mapped_kilobytes(folder) > 0
    assert release_mapped() >= (folder / "model.safetensors").stat().st_size
    assert mapped_kilobytes(folder) == 0
    assert same_weights(model, expected)


@linux
def test_what_was_written_to_is_never_let_go(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "base", hidden=64)
    model = load_pretraining_model(folder)
    with torch.no_grad():
        model.bert.pooler.dense.bias[3] = 7.0
    assert bool(model.bert.embeddings.word_embeddings.weight.isfinite().all())
    release_mapped()
    assert model.bert.pooler.dense.bias[3].item() == 7.0
    assert mapped_kilobytes(folder) > 0


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_rows_are_copied_in_parts(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, before = (
        tiny_model(architecture, hidden=16, layers=1),
        tiny_model(architecture, hidden=16, layers=1),
    )
    monkeypatch.setattr(growth, "_COPIED_BYTES", 1000)
    released: list[int] = []
    rows, bias = torch.full((3, 16), 0.5), torch.zeros(3)
    grow_(model, rows, bias, first_id=60, release=lambda: released.append(1))
    for name, parameter in architecture_of(model).vocabulary_parameters(model).items():
        old = architecture_of(before).vocabulary_parameters(before)[name]
        assert torch.equal(parameter[:60], old[:60])
        assert torch.equal(parameter[60:], rows if parameter.ndim == 2 else bias)
    assert len(released) >= 60 * 16 * 4 // 1000


def test_the_number_that_is_not_finite_is_found_in_any_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "_BLOCK", 50)
    model = tiny_model(hidden=16, layers=1)
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[20, 5] = float("-inf")
    with pytest.raises(CheckpointError, match=r"word_embeddings\.weight\[20, 5\]"):
        save_model(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_numbers_whose_sum_overflows_are_finite(tmp_path: Path) -> None:
    model = tiny_model(hidden=16, layers=1)
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[20] = 3e38
    save_model(model, tmp_path)
    assert load_pretraining_model(tmp_path).bert.embeddings.word_embeddings.weight[20, 3].item() > 2e38
