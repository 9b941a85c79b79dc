"""Push when the hub fails: at every request the head is old or new, and the next run completes."""

import signal

import huggingface_hub
import pytest

from extend.errors import NetworkError
from extend.hub import connection, push_checkpoint, save_model
from extend.hub import push as push_room
from tests.loopback_hub import Fault, LoopbackHub
from tests.models import tiny_model
from tests.publishing import (
    CARD,
    FILES,
    REPO,
    checkpoint_with_card,
    content,
    go_online,
    killed_at,
    push,
    remote,
)


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    go_online(monkeypatch)


@pytest.fixture
def checkpoint(tmp_path):
    return checkpoint_with_card(tmp_path / "model")


def requests_of_a_push(directory) -> int:
    with LoopbackHub() as hub:
        push(hub, directory)
        return len(hub.requests)


REQUESTS = 10
COMMIT = 7  # the request that makes the commit


def test_the_fault_matrix_covers_every_request(checkpoint):
    assert requests_of_a_push(checkpoint) == REQUESTS


@pytest.fixture
def _no_sleep(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.mark.usefixtures("_no_sleep")
@pytest.mark.parametrize("kind", [429, 503, "reset", "lost"])
@pytest.mark.parametrize("at", range(REQUESTS))
def test_one_transient_fault_anywhere_is_survived(checkpoint, at, kind):
    with LoopbackHub(fault=Fault(at, kind)) as hub:
        result = push(hub, checkpoint)
        assert remote(hub) == content(checkpoint)
        assert len(hub.repositories[REPO].commits) == 2
        assert result.commit == hub.repositories[REPO].head


@pytest.mark.usefixtures("_no_sleep")
@pytest.mark.parametrize("kind", [500, "lost", 403])
@pytest.mark.parametrize("at", range(REQUESTS))
def test_a_hub_that_stays_down_leaves_the_old_or_the_new_and_the_next_run_completes(checkpoint, at, kind):
    with LoopbackHub() as hub:
        push(hub, checkpoint)
        old = remote(hub)
        (checkpoint / "README.md").write_text(CARD + "changed\n")
        save_model(tiny_model(hidden=16, layers=1, seed=9), checkpoint)
        new = content(checkpoint)
        assert old != new
        hub.fault = Fault(len(hub.requests) + at, kind, times=10**6)
        with pytest.raises(NetworkError) as told:
            push(hub, checkpoint)
        assert told.value.exit_code == 6
        assert told.value.next
        assert remote(hub) in (old, new)
        assert all(set(files) >= set(FILES) for _, files in hub.repositories[REPO].commits[1:])
        hub.fault = None
        push(hub, checkpoint)
        assert remote(hub) == new
        assert content(checkpoint) == new
        assert len(hub.repositories[REPO].commits) == 3


@pytest.mark.parametrize("moment", ["asked", "done"])
@pytest.mark.parametrize("at", range(REQUESTS))
def test_killed_at_any_request_the_head_is_old_or_new_and_the_next_run_completes(checkpoint, at, moment):
    with LoopbackHub() as hub:
        push(hub, checkpoint)
        old = remote(hub)
        (checkpoint / "README.md").write_text(CARD + "changed\n")
        save_model(tiny_model(hidden=16, layers=1, seed=9), checkpoint)
        new = content(checkpoint)
        assert (
            killed_at(hub, len(hub.requests) + at, moment, lambda: push(hub, checkpoint)) == -signal.SIGKILL
        )
        assert remote(hub) == (new if (at, moment) >= (COMMIT, "done") else old)
        push(hub, checkpoint)
        assert remote(hub) == new
        assert len(hub.repositories[REPO].commits) == 3


def test_a_head_that_moved_is_a_conflict_and_nothing_is_overwritten(checkpoint, monkeypatch):
    with LoopbackHub() as hub:
        push(hub, checkpoint)
        (checkpoint / "README.md").write_text(CARD + "more\n")
        create = push_room._create_commit

        def meanwhile(*arguments, **options):
            hub.add(REPO, {**remote(hub), "theirs.md": b"x"})
            return create(*arguments, **options)

        monkeypatch.setattr(push_room, "_create_commit", meanwhile)
        with pytest.raises(NetworkError) as told:
            push(hub, checkpoint)
        assert told.value.name == "E-CONFLICT"
        heads = [sha for sha, _ in hub.repositories[REPO].commits]
        assert heads[-2] in told.value.why
        assert heads[-1] in told.value.why
        assert remote(hub)["README.md"] == CARD.encode()


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt"])
def test_what_the_hub_holds_is_compared_afterwards(checkpoint, name):
    with LoopbackHub() as hub:
        hub.corrupt = name
        with pytest.raises(NetworkError, match=name) as told:
            push(hub, checkpoint)
    assert told.value.name == "E-REMOTE-DIFFERS"


def test_nothing_listens(checkpoint):
    with LoopbackHub() as hub:
        pass
    waited = []
    with pytest.raises(NetworkError) as told:
        push_checkpoint(checkpoint, REPO, endpoint=hub.url, wait=waited.append)
    assert told.value.name == "E-NETWORK"
    assert waited == [1, 2, 4, 8]


def test_the_server_s_own_waiting_time_is_kept_to_a_minute():
    class Response:
        def __init__(self, after):
            self.headers, self.status_code = {"Retry-After": after}, 429

    def error(after):
        made = huggingface_hub.errors.HfHubHTTPError.__new__(huggingface_hub.errors.HfHubHTTPError)
        made.response = Response(after)
        return made

    assert connection.pause(error("7"), 0) == 7
    assert connection.pause(error("9000"), 0) == 60
    assert connection.pause(error("soon"), 3) == 8
    assert connection.pause(ConnectionError(), 1) == 2
