import errno
import json
import multiprocessing
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend import store
from extend.errors import BusyError, CheckpointError, ExtendError, PathError, SpaceError
from extend.store import operations
from tests.reliability.disk import ending, failing, in_child, watched

OLD, NEW = b"old " * 5000, b"new " * 7000


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test can cut the power: a real sync would only take time; a path that is not there still fails."""
    monkeypatch.setattr(operations, "sync_file", os.stat)
    monkeypatch.setattr(operations, "sync_folder", os.stat)


def write_file(folder: Path) -> None:
    store.write_bytes(folder / "state", NEW)


def write_folder(folder: Path) -> None:
    with store.publish_directory(folder / "model", manifest=True) as temporary:
        store.write_bytes(temporary / "weights", NEW)
        store.write_json(temporary / "config.json", {"size": len(NEW)})


def write_checked(folder: Path) -> None:
    with store.publish_checked(folder / "model", facts={"schema": 2}) as publication:
        publication.write("weights", [NEW[:9], memoryview(NEW)[9:]])
        publication.write_json("config.json", {"size": len(NEW)})


def _before(folder: Path) -> None:
    folder.mkdir()
    store.write_bytes(folder / "state", OLD)
    with store.publish_directory(folder / "model", manifest=True) as temporary:
        store.write_bytes(temporary / "weights", OLD)
        store.write_json(temporary / "config.json", {"size": len(OLD)})


def _check_old_or_new(folder: Path) -> None:
    assert (folder / "state").read_bytes() in (OLD, NEW)
    weights = (folder / "model" / "weights").read_bytes()
    assert weights in (OLD, NEW)
    assert store.read_json(folder / "model" / "config.json")["size"] == len(weights)
    assert store.verify(folder / "model") == []
    assert sorted(path.name for path in folder.iterdir()) == ["model", "state"]


def _operations(write: Callable[[Path], None], folder: Path) -> list[str]:
    with watched() as seen:
        write(folder)
    return [name for name, _ in seen.places]


def _stopped(write: Callable[[Path], None], folder: Path, at: int) -> int:
    with ending(at, lambda: os._exit(9)):
        write(folder)
    return 0


@pytest.mark.parametrize("write", [write_file, write_folder, write_checked])
def test_a_kill_at_every_file_operation_leaves_old_or_new(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    _before(tmp_path / "all")
    total = len(_operations(write, tmp_path / "all"))
    assert total >= 4
    for allowed in range(total):
        folder = tmp_path / f"killed-{allowed}"
        _before(folder)
        assert in_child(lambda at=allowed, folder=folder: _stopped(write, folder, at)) == 9  # type: ignore[misc]
        store.recover(folder)
        _check_old_or_new(folder)


@pytest.mark.parametrize("write", [write_file, write_folder, write_checked])
@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, SpaceError),
        (errno.EDQUOT, SpaceError),
        (errno.EIO, PathError),
        (errno.EROFS, PathError),
        (errno.EACCES, PathError),
    ],
)
def test_an_error_at_every_file_operation_is_told_and_leaves_old_or_new(
    tmp_path: Path, write: Callable[[Path], None], number: int, kind: type[ExtendError]
) -> None:
    _before(tmp_path / "all")
    names = _operations(write, tmp_path / "all")
    told: list[bool] = []
    for allowed in range(len(names)):
        folder = tmp_path / f"failed-{allowed}"
        _before(folder)
        try:
            with failing(allowed, number):
                write(folder)
        except kind as failure:
            told.append(str(folder) in failure.what)
        else:  # what failed was sweeping up after the new state was in place
            assert NEW in ((folder / "state").read_bytes(), (folder / "model" / "weights").read_bytes())
        store.recover(folder)
        _check_old_or_new(folder)
    assert all(told)
    assert len(told) == len(names) - names[::-1].index("sync_folder")


def test_a_writer_in_place_fails_the_same_harness(tmp_path: Path) -> None:
    """The harness notices: the naive way loses the file when it is killed before the write."""
    path = tmp_path / "state"
    path.write_bytes(OLD)
    child = os.fork()
    if child == 0:
        with open(path, "wb"):
            os._exit(9)
    os.waitpid(child, 0)
    assert path.read_bytes() not in (OLD, NEW)


def test_a_full_disk_is_a_space_error_and_the_old_file_stays(tmp_path: Path) -> None:
    store.write_bytes(tmp_path / "state", OLD)
    program = (
        "import resource, signal, sys; from pathlib import Path; from extend import store, errors\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: store.write_bytes(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except errors.ExtendError as error: print(error.what); sys.exit(error.exit_code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "state")], capture_output=True, text=True
    )
    assert done.returncode == 5, done.stderr
    assert str(tmp_path / "state") in done.stdout
    assert (tmp_path / "state").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["state"]


def _as_nobody(action: Callable[[], None]) -> int:
    """Exit code of `action` in a process that file permissions bind (root's do not)."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            action()
        except ExtendError as error:
            code = error.exit_code
        except BaseException:
            code = 99
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_no_permission_is_a_path_error(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    assert _as_nobody(lambda: store.write_bytes(closed / "state", NEW)) == 4
    assert _as_nobody(lambda: store.make_directory(closed / "run")) == 4
    assert list(closed.iterdir()) == []


def test_a_file_where_a_folder_should_be_is_a_path_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"")
    with pytest.raises(PathError, match="cannot use"):
        store.write_text(tmp_path / "run" / "state", "x")


def test_a_dangling_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to(tmp_path / "nowhere")
    store.write_bytes(tmp_path / "state", NEW)
    assert not (tmp_path / "state").is_symlink()
    assert not (tmp_path / "nowhere").exists()


def test_a_failed_block_publishes_nothing(tmp_path: Path) -> None:
    def fill_and_fail() -> None:
        with store.publish_directory(tmp_path / "model") as temporary:
            store.write_bytes(temporary / "weights", NEW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_published_files_have_the_usual_mode(tmp_path: Path) -> None:
    """safetensors writes 0600; a published model is as readable as the umask says."""
    with store.publish_directory(tmp_path / "model") as temporary:
        descriptor = os.open(temporary / "weights", os.O_CREAT | os.O_WRONLY, 0o600)
        os.close(descriptor)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "model" / "weights").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "remove", "add", "manifest"])
def test_damage_is_found(tmp_path: Path, damage: str) -> None:
    _before(tmp_path / "run")
    model = tmp_path / "run" / "model"
    weights = model / "weights"
    data = bytearray(weights.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    if damage in ("flip", "cut", "empty"):
        weights.write_bytes({"flip": data, "cut": data[:-1], "empty": b""}[damage])
    if damage == "remove":
        weights.unlink()
    if damage == "add":
        (model / "more").write_bytes(b"")
    if damage == "manifest":
        (model / store.MANIFEST).write_bytes(b"{")
    expected = {"add": ["more"], "manifest": [store.MANIFEST]}.get(damage, ["weights"])
    assert store.verify(model) == expected


def test_a_folder_without_manifest_is_not_sound(tmp_path: Path) -> None:
    assert store.verify(tmp_path) == [store.MANIFEST]
    assert not store.is_published(tmp_path)


def _hold(folder: Path, ready: Any) -> None:
    with store.locked(folder):
        ready.set()
        time.sleep(60)


def test_a_second_process_is_told_who_has_the_run_and_a_kill_frees_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(10)
    begun = time.monotonic()
    with pytest.raises(BusyError, match=f"pid {holder.pid} on") as refusal, store.locked(tmp_path):
        pass
    assert time.monotonic() - begun < 2
    assert refusal.value.exit_code == 7
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with store.locked(tmp_path):
        pass


def _race(folder: Path, start: Any, won: Any, over: Any) -> None:
    start.wait()
    try:
        with store.locked(folder):
            with won.get_lock():
                won.value += 1
            over.wait()
    except BusyError:
        over.wait()


@pytest.mark.parametrize("processes", [2, 5])
def test_exactly_one_of_many_wins_the_lock(tmp_path: Path, processes: int) -> None:
    context = multiprocessing.get_context("fork")
    for trial in range(8):
        start, over = context.Barrier(processes), context.Barrier(processes)
        won = context.Value("i", 0)
        racers = [
            context.Process(target=_race, args=(tmp_path / str(trial), start, won, over))
            for _ in range(processes)
        ]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(20)
        assert won.value == 1


def test_recover_leaves_what_is_not_ours(tmp_path: Path) -> None:
    for name in ("model", ".hidden", "notes.tmp-1"):
        (tmp_path / name).mkdir()
    (tmp_path / ".model.tmp-7").mkdir()
    (tmp_path / ".state.tmp-7").write_bytes(b"half")
    store.recover(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden", "model", "notes.tmp-1"]
    store.recover(tmp_path / "absent")


def test_what_is_damaged_is_kept_aside(tmp_path: Path) -> None:
    for content in (b"1", b"2"):
        (tmp_path / "step-5").mkdir()
        (tmp_path / "step-5" / "weights").write_bytes(content)
        aside = store.set_aside(tmp_path / "step-5")
    assert os.listdir(tmp_path) == ["step-5.bad"]
    assert (aside / "weights").read_bytes() == b"2"


@pytest.mark.parametrize("text", ["{", "", "\x00", "[" * 100_000])
def test_what_is_not_json_is_a_checkpoint_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(text.encode())
    with pytest.raises(CheckpointError, match="not valid JSON"):
        store.read_json(path)


def test_missing_json_is_a_path_error(tmp_path: Path) -> None:
    with pytest.raises(PathError, match=r"none\.json"):
        store.read_json(tmp_path / "none.json")


_texts = st.text(st.characters(exclude_categories=["Cs"]))
_numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_values = st.recursive(
    st.none() | st.booleans() | _numbers | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)


@given(_values)
def test_json_reads_back_the_same(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    store.write_json(path, value)
    assert store.read_json(path) == value


def test_a_number_that_is_none_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        store.write_json(tmp_path / "report.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_lines_are_appended_whole(tmp_path: Path) -> None:
    for step in range(3):
        store.append_line(tmp_path / "pretrain" / "metrics.jsonl", json.dumps({"step": step}))
    lines = (tmp_path / "pretrain" / "metrics.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]


def test_the_limit_of_open_files_is_respected(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        for index in range(300):
            store.write_text(tmp_path / str(index % 7), "x")
            with store.publish_directory(tmp_path / "model") as temporary:
                store.write_text(temporary / "config.json", "{}")
            with store.locked(tmp_path):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
