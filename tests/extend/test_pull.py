"""From a name to a folder: pinned to a commit, compared with the hub, found again offline."""

import huggingface_hub
import pytest

from extend.errors import (
    CheckpointError,
    NetworkError,
    PathError,
    RefusedError,
)
from extend.hub import (
    load_pretraining_model,
    resolve_base,
)
from tests.loopback_hub import Fault, LoopbackHub
from tests.models import tiny_checkpoint


@pytest.fixture
def folder(tmp_path):
    return tiny_checkpoint(tmp_path / "base", hidden=16, layers=1)


def test_a_folder_is_taken_as_it_is(folder):
    base = resolve_base(str(folder), revision=None)
    assert (base.name, base.revision, base.directory) == (str(folder), None, folder)


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "a/b/c", "nowhere/", "a b/c", "x\u202ey"])
def test_a_path_that_is_not_there(name):
    with pytest.raises(PathError) as told:
        resolve_base(name, revision=None)
    assert told.value.exit_code == 4
    assert "\u202e" not in told.value.message("vocab")


def test_a_file_and_an_empty_folder_are_no_base(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PathError):
        resolve_base(str(tmp_path / "file"), revision=None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        resolve_base(str(tmp_path / "empty"), revision=None)


def test_offline_and_not_in_the_cache(tmp_path):
    with pytest.raises(NetworkError) as told:
        resolve_base("someone/base", revision=None, cache=tmp_path)
    assert told.value.name == "E-OFFLINE"
    assert told.value.exit_code == 6
    assert "--offline" in told.value.next


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return monkeypatch


@pytest.fixture
def published(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def resolve(hub, cache, **options):
    options = {"revision": None, "endpoint": hub.url, "cache": cache, "wait": lambda seconds: None, **options}
    return resolve_base("someone/base", **options)


def test_without_weights_none_are_fetched_and_later_they_are(published, tmp_path, online):
    cache = tmp_path / "cache"
    with LoopbackHub() as hub:
        hub.add("someone/base", published)
        light = resolve(hub, cache, weights=False)
        assert not list(light.directory.glob("*.safetensors"))
        assert (light.directory / "config.json").is_file()
        online.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        assert resolve(hub, cache, weights=False) == light
        with pytest.raises(NetworkError, match="not in the cache"):
            resolve(hub, cache)
        online.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        whole = resolve(hub, cache)
        assert whole.directory == light.directory
        assert {path.name for path in whole.directory.iterdir()} >= set(published) - {"README.md"}


def test_a_hub_name_becomes_a_folder_pinned_to_its_commit(published, tmp_path, online):
    with LoopbackHub() as hub:
        others = {"pytorch_model.bin": b"x", "evil.py": b"x", "onnx/model.onnx": b"x", "big.json": b"{}"}
        first = hub.add("someone/base", {**published, **others})
        hub.add("someone/base", {**published, "vocab.txt": b"other\n"})
        base = resolve(hub, tmp_path / "cache", revision=first)
        head = resolve(hub, tmp_path / "cache")
        assert base.revision == first
        assert head.revision == hub.repositories["someone/base"].head
        got = {path.name: path.read_bytes() for path in base.directory.rglob("*") if path.is_file()}
        assert got == published
        assert (head.directory / "vocab.txt").read_bytes() == b"other\n"
    load_pretraining_model(base.directory)
    online.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert resolve_base("someone/base", revision=first, cache=tmp_path / "cache") == base
    assert resolve_base("someone/base", revision=None, cache=tmp_path / "cache") == head


def test_what_is_in_the_cache_is_not_fetched_again(published, tmp_path, online):
    with LoopbackHub() as hub:
        hub.add("someone/base", published)
        base = resolve(hub, tmp_path / "cache")
        before = len(hub.requests)
        assert resolve(hub, tmp_path / "cache") == base
        assert not any("/resolve/" in path for method, path in hub.requests[before:] if method == "GET")


def test_only_pickles_on_the_hub_are_refused_before_any_download(published, tmp_path, online):
    del published["model.safetensors"]
    with LoopbackHub() as hub:
        hub.add("someone/base", {**published, "pytorch_model.bin": b"x"})
        with pytest.raises(RefusedError) as told:
            resolve(hub, tmp_path / "cache")
        assert told.value.name == "E-PICKLE"
        assert not any("/resolve/" in path for _, path in hub.requests)


@pytest.mark.parametrize("gone", ["config.json", "model.safetensors"])
def test_a_hub_name_that_is_no_checkpoint(published, tmp_path, online, gone):
    del published[gone]
    with LoopbackHub() as hub:
        hub.add("someone/base", published)
        with pytest.raises(CheckpointError):
            resolve(hub, tmp_path / "cache")


def test_unknown_names_and_revisions(published, tmp_path, online):
    with LoopbackHub() as hub:
        with pytest.raises(NetworkError) as told:
            resolve(hub, tmp_path / "cache")
        assert told.value.name == "E-NOT-FOUND"
        hub.add("someone/base", published)
        with pytest.raises(NetworkError, match="no such revision"):
            resolve(hub, tmp_path / "cache", revision="v9")


@pytest.mark.parametrize("kind", [500, "reset", 403])
def test_a_hub_that_fails(published, tmp_path, online, kind):
    online.setattr("time.sleep", lambda seconds: None)
    with LoopbackHub(fault=Fault(0, kind, times=10**6)) as hub:
        hub.add("someone/base", published)
        with pytest.raises(NetworkError) as told:
            resolve(hub, tmp_path / "cache")
        assert told.value.exit_code == 6
        hub.fault = Fault(len(hub.requests), kind if kind != 403 else 503)
        assert resolve(hub, tmp_path / "cache").directory.is_dir()


def test_a_download_that_does_not_match_is_removed(published, tmp_path, online):
    with LoopbackHub() as hub:
        hub.add("someone/base", published)
        hub.served["model.safetensors"] = b"\0" * len(published["model.safetensors"])
        with pytest.raises(CheckpointError, match=r"model\.safetensors .* arrived damaged") as told:
            resolve(hub, tmp_path / "cache")
        assert told.value.name == "E-DOWNLOAD"
        hub.served.clear()
        base = resolve(hub, tmp_path / "cache")
        assert (base.directory / "model.safetensors").read_bytes() == published["model.safetensors"]
