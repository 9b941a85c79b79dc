"""What a checkpoint must agree with before a run goes on from it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from extend.errors import CheckpointError
from extend.pretrain.checkpoints import SavedState, latest_checkpoint, versions
from extend.pretrain.resuming import (
    FREE,
    Resumption,
    already_complete,
    check_same,
    put_back_,
)
from tests.reliability.disk import watched
from tests.reliability.small_runs import CONFIGURATION, DATA, fresh_net, save


def saved_at(folder: Path, **more: Any) -> SavedState:
    with watched():
        save(folder, 8, **more)
    saved = latest_checkpoint(folder)
    assert saved is not None
    return saved


def test_the_same_is_the_same(tmp_path: Path) -> None:
    assert check_same(saved_at(tmp_path), CONFIGURATION, DATA) == Resumption()


@pytest.mark.parametrize("key", sorted(FREE))
def test_what_no_weight_depends_on_may_change(tmp_path: Path, key: str) -> None:
    assert check_same(saved_at(tmp_path), {**CONFIGURATION, key: 77}, DATA) == Resumption()


@pytest.mark.parametrize(
    ("key", "value"),
    [("learning_rate", 2e-3), ("seed", 2), ("batch_size", 64), ("steps", 48), ("steps", 9), ("corpora", {})],
)
def test_everything_else_may_not(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(CheckpointError, match="belongs to another configuration") as told:
        check_same(saved_at(tmp_path), {**CONFIGURATION, key: value}, DATA)
    assert (told.value.name, told.value.exit_code) == ("E-RUN-MISMATCH", 8)
    assert f"{key}: {CONFIGURATION.get(key)} then, {value} now" in told.value.why
    assert ("learning rate of every step" in told.value.why) == (key == "steps")


def test_the_first_three_differences_are_told(tmp_path: Path) -> None:
    other = {**CONFIGURATION, "b": 1, "a": 2, "d": 3, "c": 4}
    with pytest.raises(CheckpointError) as told:
        check_same(saved_at(tmp_path), other, DATA)
    assert told.value.why == "a: None then, 2 now; b: None then, 1 now; c: None then, 4 now"


def test_settings_are_compared_as_they_are_saved(tmp_path: Path) -> None:
    saved = saved_at(tmp_path, configuration={**CONFIGURATION, "betas": (0.9, 0.999)})
    assert check_same(saved, {**CONFIGURATION, "betas": (0.9, 0.999)}, DATA) == Resumption()


def test_a_setting_of_a_later_release_counts_as_its_default(tmp_path: Path) -> None:
    saved, now = saved_at(tmp_path), {**CONFIGURATION, "packing": "blocks"}
    assert check_same(saved, now, DATA, defaults={"packing": "blocks"}) == Resumption()
    with pytest.raises(CheckpointError, match="another configuration"):
        check_same(saved, {**now, "packing": "documents"}, DATA, defaults={"packing": "blocks"})


def test_fewer_steps_than_are_done_ask_for_nothing(tmp_path: Path) -> None:
    saved = saved_at(tmp_path)
    for steps, complete in ((8, True), (5, True), (9, False), (24, False)):
        assert already_complete(saved, {**CONFIGURATION, "steps": steps}) is complete
    assert check_same(saved, {**CONFIGURATION, "steps": 5}, DATA) == Resumption()


def test_other_data_are_told_with_their_files(tmp_path: Path) -> None:
    now = {"ka/ids.bin": "cc" * 32, "ka/more.bin": "dd" * 32}
    with pytest.raises(CheckpointError, match=r"ka/ids\.bin, ka/more\.bin, ka/starts\.bin") as told:
        check_same(saved_at(tmp_path), CONFIGURATION, now)
    assert (told.value.name, told.value.exit_code) == ("E-DATA-CHANGED", 8)
    assert "--accept-data-change" in told.value.next


def test_an_accepted_change_of_data_stays_on_record(tmp_path: Path) -> None:
    now = {**DATA, "ka/ids.bin": "cc" * 32}
    first = check_same(saved_at(tmp_path), CONFIGURATION, now, accept_data_change=True)
    assert first.data_changes == ({"step": 8, "files": ["ka/ids.bin"]},)
    assert [warning["name"] for warning in first.warnings] == ["W-DATA-CHANGED"]
    later = saved_at(tmp_path, data=now, data_changes=first.data_changes)
    assert check_same(later, CONFIGURATION, now) == Resumption((), first.data_changes)
    second = check_same(later, CONFIGURATION, DATA, accept_data_change=True)
    assert len(second.data_changes) == 2


def test_other_versions_are_told_and_go_on(tmp_path: Path) -> None:
    saved = saved_at(tmp_path, versions={**versions(), "torch": "1.0", "threads": "64"})
    (warning,) = check_same(saved, CONFIGURATION, DATA).warnings
    assert warning["name"] == "W-VERSIONS"
    assert f"torch 1.0 then, {torch.__version__} now" in warning["text"]
    assert "threads 64 then" in warning["text"]


def test_a_damaged_checkpoint_is_told_when_the_run_goes_on(tmp_path: Path) -> None:
    with watched():
        save(tmp_path, 8)
        (save(tmp_path, 12) / "model.safetensors").write_bytes(b"")
    saved = latest_checkpoint(tmp_path)
    assert saved is not None
    (warning,) = check_same(saved, CONFIGURATION, DATA).warnings
    assert warning["name"] == "W-CKPT-BAD"
    assert "model.safetensors" in warning["text"]
    assert "step-00000012.bad" in warning["text"]


def test_a_state_without_a_fingerprint_goes_with_any_data(tmp_path: Path) -> None:
    assert check_same(saved_at(tmp_path, data={}), CONFIGURATION, DATA) == Resumption()


def test_weights_are_put_back_in_place(tmp_path: Path) -> None:
    saved, net = saved_at(tmp_path), fresh_net()
    places = [parameter.data_ptr() for parameter in net.parameters()]
    put_back_(net, saved.weights)
    assert [parameter.data_ptr() for parameter in net.parameters()] == places
    assert all(torch.equal(value, saved.weights[name]) for name, value in net.named_parameters())


@pytest.mark.parametrize("odd", [{"weight": (3, 41)}, {"more": (2,)}])
def test_weights_of_another_model_change_nothing(tmp_path: Path, odd: dict[str, tuple[int, ...]]) -> None:
    saved, net = saved_at(tmp_path), fresh_net()
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    given = {**saved.weights, **{name: torch.zeros(shape) for name, shape in odd.items()}}
    with pytest.raises(CheckpointError, match=f"does not fit the model: {next(iter(odd))}"):
        put_back_(net, given)
    assert all(torch.equal(value, before[name]) for name, value in net.named_parameters())
