"""Checkpoints that are damaged, foreign, old, new or hostile: found before anything is used."""

import json
import os
import pickle
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extend import store
from extend.errors import CheckpointError, ExtendError, RefusedError
from extend.pretrain.checkpoints import MOMENTS, STATE, WEIGHTS, latest_checkpoint
from tests.reliability.disk import watched
from tests.reliability.small_runs import loaded_step, save

FILES = (WEIGHTS, MOMENTS, STATE, store.MANIFEST)
OLD_RELEASE = Path(__file__).with_name("schema-1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two checkpoints, of steps 4 and 8."""
    with watched():
        save(tmp_path / "checkpoints", 4)
        save(tmp_path / "checkpoints", 8)
    return tmp_path / "checkpoints"


def newest(folder: Path) -> Path:
    return folder / "step-00000008"


def rewrite_manifest(checkpoint: Path) -> None:
    """Make the manifest agree with whatever the files are now, as an attacker would."""
    manifest = json.loads((checkpoint / store.MANIFEST).read_text())
    manifest["files"] = store.fingerprint(checkpoint)
    (checkpoint / store.MANIFEST).write_text(json.dumps(manifest))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "flip": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "zero": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "empty": lambda path: path.write_bytes(b""),
    "remove": lambda path: path.unlink(),
    "swap with the older": lambda path: shutil.copy(
        path.parents[1] / "step-00000004" / path.name, path.parent
    ),
    "swap with a neighbour": lambda path: shutil.copy(
        path.with_name(FILES[FILES.index(path.name) - 1]), path
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_damage_to_any_file_is_found_and_the_previous_used(folder: Path, name: str, damage: str) -> None:
    DAMAGES[damage](newest(folder) / name)
    saved = latest_checkpoint(folder)
    assert saved is not None
    assert saved.step == 4
    (found,) = saved.damaged
    assert found.folder == folder / "step-00000008.bad"
    assert found.folder.is_dir()
    warning = found.as_warning()
    assert warning["name"] == "W-CKPT-BAD"
    others = FILES if name == store.MANIFEST else (name,)
    assert any(file in warning["text"] for file in others)
    assert loaded_step(folder) == 4


def test_an_extra_file_is_damage(folder: Path) -> None:
    (newest(folder) / "optimizer.pt").write_bytes(b"x")
    saved = latest_checkpoint(folder)
    assert saved is not None
    assert (saved.step, saved.damaged[0].files) == (4, ("optimizer.pt",))


def test_no_bit_of_a_checkpoint_can_turn_unnoticed(folder: Path) -> None:
    """300 random bits, manifest and blanks of its JSON included: the state is never another one."""
    draw = random.Random(7)
    harmless = 0
    for trial in range(300):
        with watched():
            path = save(folder, 8) / draw.choice(FILES)
        data = bytearray(path.read_bytes())
        place = draw.randrange(8 * len(data))
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        step = _step_or_exit_code(folder)
        assert step in (4, 8, 11), (trial, path, place)
        if step == 8:  # a blank of the manifest turned into another blank
            harmless += 1
            assert json.loads(bytes(data)) == json.loads(_turned_back(data, place)), (trial, path, place)
    assert harmless < 6


def _step_or_exit_code(folder: Path) -> int | None:
    try:
        return loaded_step(folder)
    except ExtendError as error:
        return error.exit_code


def _turned_back(data: bytearray, place: int) -> bytes:
    copy = bytearray(data)
    copy[place // 8] ^= 1 << place % 8
    return bytes(copy)


def test_when_all_are_damaged_nothing_starts_anew_in_silence(folder: Path) -> None:
    for path in folder.glob("step-*/state.json"):
        path.write_text("{}")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"every checkpoint in .* is damaged") as told:
            latest_checkpoint(folder)
        assert (told.value.name, told.value.exit_code) == ("E-CKPT-BAD", 8)
    assert sorted(os.listdir(folder)) == ["step-00000004.bad", "step-00000008.bad"]


def test_no_checkpoint_is_a_fresh_start(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "none") is None
    assert latest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("content", ["step-00000004", "step-99999999", "../../elsewhere", ""])
def test_a_file_that_says_which_is_the_latest_is_not_asked(folder: Path, content: str) -> None:
    (folder / "LATEST").write_text(content)
    (folder / "step-x").mkdir()
    (folder / "step-00000009.tmp").mkdir()
    assert loaded_step(folder) == 8


def test_a_checkpoint_of_the_first_schema_loads(tmp_path: Path) -> None:
    shutil.copytree(OLD_RELEASE, tmp_path / "run")
    saved = latest_checkpoint(tmp_path / "run")
    assert saved is not None
    assert (saved.step, saved.tokens, saved.stage, saved.configuration) == (
        2,
        64,
        "all",
        {"steps": 4, "seed": 1},
    )
    assert {name: tuple(tensor.shape) for name, tensor in saved.weights.items()} == {
        "weight": (2, 3),
        "bias": (2,),
    }
    assert set(saved.moments) == {f"{n}.{m}" for n in ("weight", "bias") for m in ("exp_avg", "exp_avg_sq")}
    assert (saved.data, saved.versions) == ({}, {})


def test_a_newer_schema_is_refused_and_kept(folder: Path) -> None:
    state = json.loads((newest(folder) / STATE).read_text())
    (newest(folder) / STATE).write_text(json.dumps({**state, "schema": 99}))
    rewrite_manifest(newest(folder))
    with pytest.raises(CheckpointError, match="newer release of extend") as told:
        latest_checkpoint(folder)
    assert (told.value.name, told.value.exit_code) == ("E-CKPT-SCHEMA", 8)
    assert newest(folder).is_dir()


class _Canary:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (os.environ["CANARY"],)


def _pickled(checkpoint: Path) -> None:
    (checkpoint / WEIGHTS).write_bytes(pickle.dumps(_Canary()))


def _huge_header(checkpoint: Path) -> None:
    (checkpoint / WEIGHTS).write_bytes(struct.pack("<Q", 1 << 62) + b"{}")


def _lying_header(checkpoint: Path) -> None:
    entry = {"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    text = json.dumps(entry).encode()
    (checkpoint / MOMENTS).write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))


def _no_state(checkpoint: Path) -> None:
    (checkpoint / STATE).unlink()


def _state_is_a_list(checkpoint: Path) -> None:
    (checkpoint / STATE).write_text("[1, 2]")


def _deep_state(checkpoint: Path) -> None:
    (checkpoint / STATE).write_text("[" * 100_000)


def _step_is_text(checkpoint: Path) -> None:
    state = json.loads((checkpoint / STATE).read_text())
    (checkpoint / STATE).write_text(json.dumps({**state, "step": "8; rm"}))


@pytest.mark.parametrize(
    "attack",
    [_pickled, _huge_header, _lying_header, _no_state, _state_is_a_list, _deep_state, _step_is_text],
)
def test_content_that_no_release_wrote_is_refused_whatever_the_manifest_says(
    folder: Path, attack: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", str(folder.parent / "canary"))
    attack(newest(folder))
    rewrite_manifest(newest(folder))
    with pytest.raises(CheckpointError) as told:
        latest_checkpoint(folder)
    assert told.value.exit_code == 8
    assert not (folder.parent / "canary").exists()
    assert newest(folder).is_dir()


def test_the_canary_sings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above would prove nothing."""
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    pickle.loads(pickle.dumps(_Canary()))  # noqa: S301
    assert (tmp_path / "canary").exists()


def _linked_file(checkpoint: Path, secret: Path) -> None:
    (checkpoint / STATE).unlink()
    (checkpoint / STATE).symlink_to(secret)


def _linked_folder(checkpoint: Path, secret: Path) -> None:
    moved = checkpoint.parents[1] / "moved"
    checkpoint.rename(moved)
    checkpoint.symlink_to(moved, target_is_directory=True)


def _name_above(checkpoint: Path, secret: Path) -> None:
    _listed(checkpoint, f"../../{secret.name}")


def _name_from_the_root(checkpoint: Path, secret: Path) -> None:
    _listed(checkpoint, str(secret))


def _listed(checkpoint: Path, name: str) -> None:
    manifest = json.loads((checkpoint / store.MANIFEST).read_text())
    manifest["files"][name] = {"size": 6, "sha256": "0" * 64}
    (checkpoint / store.MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("attack", [_linked_file, _linked_folder, _name_above, _name_from_the_root])
def test_what_leads_out_of_the_folder_is_refused(folder: Path, attack: Callable[[Path, Path], None]) -> None:
    secret = folder.parent / "secret"
    secret.write_text("secret")
    attack(newest(folder), secret)
    with pytest.raises(RefusedError, match="leads out of its folder") as told:
        latest_checkpoint(folder)
    assert (told.value.name, told.value.exit_code) == ("E-CKPT-UNSAFE", 11)
    assert secret.read_text() == "secret"


def test_a_manifest_too_large_to_be_one_is_damage(folder: Path) -> None:
    os.truncate(newest(folder) / store.MANIFEST, 1 << 40)
    assert loaded_step(folder) == 4


def test_checkpoints_of_later_steps_go_when_a_run_was_taken_back(tmp_path: Path) -> None:
    with watched():
        for step in (4, 8, 12, 8):
            save(tmp_path, step)
    assert sorted(os.listdir(tmp_path)) == ["step-00000004", "step-00000008"]
