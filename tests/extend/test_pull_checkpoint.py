"""Pull with the real client against a local hub: what was pushed, whole or not at all, and nothing else."""

import errno
import json
import os
import shutil
import signal

import huggingface_hub
import pytest

from extend.errors import CheckpointError, ExtendError, NetworkError, PathError, RefusedError, SpaceError
from extend.hub import load_pretraining_model, pull_checkpoint, pulled_checkpoint
from extend.hub.snapshot import _left_behind
from extend.store import MANIFEST, operations, read_manifest, verify
from tests.loopback_hub import Fault, LoopbackHub
from tests.publishing import (
    CARD,
    FILES,
    REPO,
    TOKEN,
    checkpoint_with_card,
    content,
    go_online,
    killed_at,
    push,
)

RESULTS = ".eval_results/extend-zero-shot-si.yaml"
PULLED = sorted((*FILES, RESULTS, "reproduce.json"))
REQUESTS = 2 + 2 * len(PULLED)
STRANGERS = {
    "pytorch_model.bin": b"x",
    "training_args.pt": b"x",
    "modeling.py": b"x",
    "onnx/model.onnx": b"x",
    ".eval_results/theirs.yaml": b"[]",
    "notes.md": b"theirs",
}


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    go_online(monkeypatch)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkpoint with everything that a push may publish beside it."""
    folder = checkpoint_with_card(tmp_path_factory.mktemp("made") / "model")
    (folder / "reproduce.json").write_text('{"schema": 1}\n')
    (folder / ".eval_results").mkdir()
    (folder / RESULTS).write_text("- dataset: {id: a/b, task_id: si}\n  value: 43.0\n")
    return folder


@pytest.fixture
def checkpoint(made, tmp_path):
    return shutil.copytree(made, tmp_path / "model")


@pytest.fixture
def hub(made):
    with LoopbackHub(token=TOKEN) as hub:
        hub.add(REPO, {**files_of(made), **STRANGERS})
        yield hub


def pull(hub, tmp_path, **options):
    options = {"cache": tmp_path / "cache", "endpoint": hub.url, "wait": lambda seconds: None, **options}
    return pull_checkpoint(REPO, options.pop("out", tmp_path / "out"), **options)


def files_of(folder):
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def fetched(hub):
    return [path.partition("/resolve/")[2].partition("/")[2] for kind, path in hub.requests if kind == "GET"]


def test_what_was_pushed_comes_back_and_nothing_else(hub, checkpoint, tmp_path):
    told = []
    hub.repositories.clear()
    push(hub, checkpoint)
    files = {name: blob.content for name, blob in hub.repositories[REPO].files("main").items()}
    hub.add(REPO, {**files, **STRANGERS})
    hub.requests.clear()
    result = pull(hub, tmp_path, on_progress=told.append)
    assert files_of(tmp_path / "out") == files_of(checkpoint)
    assert content(tmp_path / "out") == content(checkpoint)
    assert result.commit == hub.repositories[REPO].head
    assert list(result.files) == PULLED
    assert result.new
    assert result.size == sum(map(len, files_of(checkpoint).values()))
    manifest = read_manifest(tmp_path / "out")
    assert (manifest["repo"], manifest["commit"]) == (REPO, result.commit)
    assert verify(tmp_path / "out") == []
    assert not {*fetched(hub)} & STRANGERS.keys()
    assert (told[0].done, told[-1].done, told[-1].total) == (0, len(PULLED), len(PULLED))
    load_pretraining_model(tmp_path / "out")
    assert json.loads(json.dumps(result.as_json()))["repo"] == REPO


def test_pulled_again_nothing_is_fetched_and_a_new_commit_replaces(hub, checkpoint, tmp_path):
    first = pull(hub, tmp_path)
    hub.requests.clear()
    again = pull(hub, tmp_path)
    assert (again.new, again.commit, again.files) == (False, first.commit, first.files)
    assert not any("/resolve/" in path for _, path in hub.requests)
    (checkpoint / "README.md").write_text(CARD + "more\n")
    push(hub, checkpoint)
    assert pull(hub, tmp_path).new
    assert (tmp_path / "out" / "README.md").read_text() == CARD + "more\n"
    old = pull(hub, tmp_path, revision=first.commit)
    assert (tmp_path / "out" / "README.md").read_text() == CARD
    assert old.commit == first.commit


def test_what_was_pushed_again_after_a_pull_is_the_same(hub, tmp_path):
    """A pulled folder is a checkpoint like any other; its manifest stays at home."""
    before = pull(hub, tmp_path).commit
    push(hub, tmp_path / "out")
    assert hub.repositories[REPO].head == before


@pytest.mark.parametrize("kind", ["file", "other", "changed", "link"])
def test_a_folder_that_no_pull_wrote_or_someone_changed_stays(hub, tmp_path, kind):
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    elif kind == "other":
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    elif kind == "link":
        (tmp_path / "elsewhere").mkdir()
        out.symlink_to(tmp_path / "elsewhere")
    else:
        pull(hub, tmp_path)
        (out / "vocab.txt").write_text("mine")
        hub.requests.clear()
    with pytest.raises(PathError) as told:
        pull(hub, tmp_path)
    assert told.value.name == "E-OUTPUT"
    assert hub.requests == []
    assert kind in ("link",) or b"mine" in (files_of(out) or {"": out.read_bytes()}).values()


def test_an_empty_folder_is_filled_and_a_dry_run_writes_nothing(hub, checkpoint, tmp_path):
    (tmp_path / "out").mkdir()
    planned = pull(hub, tmp_path, dry_run=True)
    assert not any((tmp_path / "out").iterdir())
    assert not (tmp_path / "cache").exists()
    assert pull(hub, tmp_path) == planned
    assert files_of(tmp_path / "out") == files_of(checkpoint)


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        *((at, ("reset", "cut")[at % 2]) for at in range(REQUESTS)),
        *((at, (429, 503, "cut", "reset")[at % 4]) for at in range(0, REQUESTS, 3)),
    ],
)
def test_one_transient_fault_anywhere_is_survived(hub, checkpoint, tmp_path, at, kind):
    hub.fault = Fault(at, kind)
    pull(hub, tmp_path)
    assert files_of(tmp_path / "out") == files_of(checkpoint)
    assert len(hub.requests) >= REQUESTS


@pytest.mark.parametrize(
    ("at", "kind"), [(at, (500, "reset", 403, 404)[at % 4]) for at in range(0, REQUESTS, 2)] + [(1, 500)]
)
def test_a_hub_that_stays_down_leaves_nothing_and_the_next_run_completes(hub, checkpoint, tmp_path, at, kind):
    hub.fault = Fault(at, kind, times=10**6)
    with pytest.raises(NetworkError) as told:
        pull(hub, tmp_path)
    assert told.value.exit_code == 6
    assert TOKEN not in told.value.message("pull")
    assert not (tmp_path / "out").exists()
    hub.fault = None
    pull(hub, tmp_path)
    assert files_of(tmp_path / "out") == files_of(checkpoint)


@pytest.mark.parametrize("at", range(1, REQUESTS, 3))
def test_killed_at_a_request_the_next_run_completes_without_fetching_twice(hub, checkpoint, tmp_path, at):
    assert killed_at(hub, at, "done", lambda: pull(hub, tmp_path)) == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    before = {name for name in fetched(hub)[:-1] if name}
    hub.requests.clear()
    pull(hub, tmp_path)
    assert files_of(tmp_path / "out") == files_of(checkpoint)
    assert not before & set(fetched(hub))


def test_a_large_download_that_was_cut_goes_on_where_it_ended(tmp_path):
    """The client keeps whole parts of ten megabytes."""
    weights = b"0123456789abcdef" * (24 << 16)
    with LoopbackHub() as hub:
        hub.add(REPO, {"config.json": b"{}", "model.safetensors": weights})
        hub.fault = Fault(5, "cut")
        pull(hub, tmp_path)
        assert hub.requests[5] == ("GET", f"/{REPO}/resolve/{hub.repositories[REPO].head}/model.safetensors")
        assert len(hub.ranges) == 1
        assert 0 < hub.ranges[0] <= len(weights) // 2
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt", RESULTS])
def test_a_file_that_is_not_what_the_tree_says_is_refused(hub, checkpoint, tmp_path, name):
    size = (checkpoint / name).stat().st_size
    hub.served[name] = b"<html>" + b"?" * (size - 6)
    with pytest.raises(CheckpointError, match="arrived damaged") as told:
        pull(hub, tmp_path)
    assert told.value.name == "E-DOWNLOAD"
    assert not (tmp_path / "out").exists()
    hub.served.clear()
    pull(hub, tmp_path)
    assert files_of(tmp_path / "out") == files_of(checkpoint)


UNSAFE = [
    "../x", "a/../../x", "/etc/x", "..", "a/..", "C:\\x", "C:x", "\\\\host\\x", "a\x00b", "a\nb",
    ".git/config", "sub/.git/hooks/x", "a\\b", "\x1b[31m",
]  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_a_repository_with_an_unsafe_name_is_refused(hub, tmp_path, name):
    files = {path: blob.content for path, blob in hub.repositories[REPO].files("main").items()}
    hub.add(REPO, {**files, name: b"x"})
    with pytest.raises(RefusedError) as told:
        pull(hub, tmp_path)
    assert (told.value.name, told.value.exit_code) == ("E-UNSAFE-NAME", 11)
    assert "\x1b" not in told.value.message("pull")
    assert not any("/resolve/" in path for _, path in hub.requests)


def test_pickles_alone_are_refused_and_a_repository_without_a_model_is_none(hub, tmp_path):
    hub.add(REPO, {"config.json": b"{}", "pytorch_model.bin": b"x"})
    with pytest.raises(RefusedError) as told:
        pull(hub, tmp_path)
    assert told.value.name == "E-PICKLE"
    hub.add(REPO, {"README.md": b"x"})
    with pytest.raises(CheckpointError):
        pull(hub, tmp_path)
    assert not any("/resolve/" in path for _, path in hub.requests)


def test_wrong_names_revisions_and_tokens_are_told(hub, tmp_path, monkeypatch):
    with pytest.raises(NetworkError, match="no such revision"):
        pull(hub, tmp_path, revision="v9")
    for name in ("nobody", "a/b/c", "../x", ""):
        with pytest.raises(NetworkError) as told:
            pull_checkpoint(name, tmp_path / "out", endpoint=hub.url)
        assert told.value.name == "E-REPO-NAME"
    monkeypatch.setenv("HF_TOKEN", TOKEN + "x")
    with pytest.raises(NetworkError) as told:
        pull(hub, tmp_path)
    assert told.value.name == "E-AUTH"
    assert TOKEN not in json.dumps(told.value.as_json())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError) as told:
        pull(hub, tmp_path)
    assert told.value.name == "E-OFFLINE"


def test_a_full_disk_leaves_nothing(hub, checkpoint, tmp_path, monkeypatch):
    whole = operations.write

    def full(file, data):
        if len(data) > 100:
            raise OSError(errno.ENOSPC, "no space")
        return whole(file, data)

    monkeypatch.setattr(operations, "write", full)
    with pytest.raises(ExtendError) as told:
        pull(hub, tmp_path)
    assert isinstance(told.value, SpaceError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "model"]
    monkeypatch.setattr(operations, "write", whole)
    pull(hub, tmp_path)
    assert files_of(tmp_path / "out") == files_of(checkpoint)


def test_the_folders_of_dead_pulls_are_swept_and_those_of_living_ones_stay(hub, tmp_path):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    dead, living = tmp_path / f".out.tmp-{child}", tmp_path / f".out.tmp-{os.getppid()}"
    other = tmp_path / f".other.tmp-{child}"
    for folder in (dead, living, other):
        folder.mkdir()
    assert _left_behind(tmp_path / "out") == [dead]
    pull(hub, tmp_path)
    assert not dead.exists()
    assert living.exists()
    assert other.exists()


def test_the_cache_s_folder_serves_a_reader(hub, checkpoint, tmp_path):
    commit, folder = pulled_checkpoint(REPO, endpoint=hub.url, cache=tmp_path / "cache")
    assert commit == hub.repositories[REPO].head
    assert files_of(folder) == files_of(checkpoint)
