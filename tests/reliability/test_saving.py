"""One save, ended, refused or forgotten at each of its operations: the old state or the new, no other."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from extend import store
from extend.errors import ExtendError, PathError, SpaceError
from extend.pretrain import checkpoints
from extend.store import operations
from tests.reliability.disk import ForgetfulDisk, ending, failing, in_child, watched
from tests.reliability.small_runs import is_whole, loaded_step, save

KINDS = {
    errno.ENOSPC: (SpaceError, 5),
    errno.EDQUOT: (SpaceError, 5),
    errno.EIO: (PathError, 4),
    errno.EROFS: (PathError, 4),
    errno.EACCES: (PathError, 4),
    errno.EXDEV: (PathError, 4),
}


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A folder with one checkpoint, at step 4."""
    with watched():
        save(tmp_path / "before", 4)
    return tmp_path / "before"


def _copy(before: Path, name: str) -> Path:
    return Path(shutil.copytree(before, before.with_name(name)))


def _operations_of_a_save(before: Path, **more: int) -> list[tuple[str, Path]]:
    with watched() as seen:
        save(_copy(before, "counted"), 8, **more)
    shutil.rmtree(before.with_name("counted"))
    return seen.places


def _ended(folder: Path, at: int, keep: int) -> int:
    with ending(at, lambda: os._exit(9)):
        save(folder, 8, keep=keep)
    return 0


@pytest.mark.parametrize("keep", [1, 3])
def test_a_save_ended_at_any_operation_leaves_old_or_new(before: Path, keep: int) -> None:
    """With `keep=1` the old checkpoint is deleted by the same save: only when the new one stands."""
    total = len(_operations_of_a_save(before, keep=keep))
    assert total > 30
    found = []
    for at in range(total):
        folder = _copy(before, f"ended-{at}")
        assert in_child(lambda: _ended(folder, at, keep)) == 9  # noqa: B023
        store.recover(folder)
        found.append(loaded_step(folder))
        names = sorted(path.name for path in folder.iterdir())
        assert set(names) <= {"step-00000004", "step-00000008"}, at
        shutil.rmtree(folder)
    first_new = found.index(8)
    assert found == [4] * first_new + [8] * (total - first_new)


@pytest.mark.parametrize("keep", [1, 3])
@pytest.mark.parametrize("names_kept", [True, False])
@pytest.mark.parametrize("bytes_kept", [True, False])
def test_a_power_cut_at_any_operation_leaves_old_or_new(
    before: Path, keep: int, names_kept: bool, bytes_kept: bool
) -> None:
    """What was not synced may be lost, names and bytes each for themselves."""
    disk = ForgetfulDisk(before)

    def cut(number: int) -> None:
        folder = before.with_name(f"cut-{number:03d}")
        disk.write_out(folder, names_kept=names_kept, bytes_kept=bytes_kept)

    def look(number: int, name: str, given: tuple[object, ...]) -> None:
        cut(number)
        disk.follow(number, name, given)

    with watched(look) as seen:
        save(before, 8, keep=keep)
    cut(seen.done)
    found = []
    for folder in sorted(before.parent.glob("cut-*")):
        store.recover(folder)
        found.append(loaded_step(folder))
    first_new = found.index(8)
    assert found == [4] * first_new + [8] * (seen.done + 1 - first_new)


def test_a_disk_that_forgets_is_noticed(before: Path) -> None:
    """Without the sync of files, a power cut can leave a folder of the right name with nothing in it."""
    disk = ForgetfulDisk(before)

    def look(number: int, name: str, given: tuple[object, ...]) -> None:
        if name != "sync_file":
            disk.follow(number, name, given)

    with watched(look):
        save(before, 8)
    disk.write_out(before.with_name("after"), names_kept=True, bytes_kept=False)
    found = store.verify(before.with_name("after") / "step-00000008")
    assert found == [store.MANIFEST]


@pytest.mark.parametrize("number", KINDS, ids=errno.errorcode.get)
@pytest.mark.parametrize("once", [True, False])
def test_an_error_at_any_operation_is_told_and_keeps_the_old_state(
    before: Path, number: int, once: bool
) -> None:
    kind, code = KINDS[number]
    places = _operations_of_a_save(before)
    new_stands = max(place for place, (name, _) in enumerate(places) if name == "move") + 1
    for at, (name, path) in enumerate(places):
        folder = _copy(before, "failed")
        failure = _failure(folder, at, number, once)
        assert isinstance(failure, kind), (at, name, path)
        assert failure.exit_code == code
        assert str(folder) in failure.what
        store.recover(folder)
        assert loaded_step(folder) == (8 if at >= new_stands else 4), (at, name)
        assert loaded_step(_saved_again(folder)) == 8
        assert sorted(os.listdir(folder)) == ["step-00000004", "step-00000008"]
        shutil.rmtree(folder)


def _failure(folder: Path, at: int, number: int, once: bool) -> ExtendError | None:
    try:
        with failing(at, number, once=once):
            save(folder, 8)
    except ExtendError as error:
        return error
    return None


def _saved_again(folder: Path) -> Path:
    with watched():
        save(folder, 8)
    return folder


def test_a_folder_that_cannot_be_synced_is_tolerated_and_a_file_is_not(before: Path) -> None:
    """Some network file systems answer EINVAL for folders."""

    def refuse(kind: str) -> Path:
        def fail(number: int, name: str, given: tuple[object, ...]) -> None:
            if name == kind:
                raise OSError(errno.EINVAL, "made to fail")

        folder = _copy(before, kind)
        with watched(fail):
            save(folder, 8)
        return folder

    assert loaded_step(refuse("sync_folder")) == 8
    with pytest.raises(PathError, match="Invalid argument"):
        refuse("sync_file")
    assert loaded_step(before.with_name("sync_file")) == 4


def test_too_little_space_is_told_before_a_byte_is_written(
    before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "free_bytes", lambda directory: 2000)
    with watched() as seen, pytest.raises(SpaceError, match=r"2,2\d\d bytes are needed and 2,000 are free"):
        save(before, 8)
    assert seen.done == 0
    assert loaded_step(before) == 4


def test_what_reads_back_otherwise_is_not_published(before: Path) -> None:
    """As if the page cache or the disk had changed a byte on the way."""

    def spoil(number: int, name: str, given: tuple[object, ...]) -> None:
        path = Path(str(given[0]))
        if name == "sync_file" and path.name == checkpoints.WEIGHTS:
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            path.write_bytes(data)

    with watched(spoil), pytest.raises(PathError, match="read back other than it was written") as told:
        save(before, 8)
    assert told.value.name == "E-READ-BACK"
    assert os.listdir(before) == ["step-00000004"]


def test_a_reader_sees_whole_checkpoints_alone_during_200_saves(tmp_path: Path) -> None:
    """It verifies the newest again and again while another process saves and prunes."""
    folder = tmp_path / "checkpoints"
    with watched():
        save(folder, 4, keep=1)
    saver = os.fork()
    if saver == 0:
        with watched():
            for number in range(200):
                save(folder, (8, 12, 4)[number % 3], keep=1)
        os._exit(0)
    looked = 0
    while os.waitpid(saver, os.WNOHANG)[0] == 0:
        for path in sorted(folder.glob("step-*")):
            looked += _is_whole_or_gone(path)
    assert looked > 50


def _is_whole_or_gone(path: Path) -> int:
    """A folder that is being replaced is there, whole, or not there under its name."""
    try:
        identity = path.stat().st_ino
        odd = store.verify(path)
    except (ExtendError, OSError):
        return 0
    if odd:
        assert not path.exists() or path.stat().st_ino != identity, (path, odd)
        return 0
    return 1


def test_files_are_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        path = save(tmp_path, 4)
    finally:
        os.umask(old)
    assert {oct(entry.stat().st_mode & 0o777) for entry in path.iterdir()} == {"0o640"}
    assert path.stat().st_mode & 0o777 == 0o750


def test_old_checkpoints_go_when_the_new_one_stands(tmp_path: Path) -> None:
    for step, left in ((4, [4]), (8, [4, 8]), (12, [8, 12])):
        save(tmp_path, step, keep=2)
        assert sorted(os.listdir(tmp_path)) == [f"step-{number:08d}" for number in left]
    save(tmp_path, 8, keep=0)
    assert os.listdir(tmp_path) == ["step-00000008"]
    assert is_whole(checkpoints.latest_checkpoint(tmp_path), 8)
