"""What the tests of publishing share: a small checkpoint with a card, a push, a hub that kills."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest

from extend.hub import PushResult, push_checkpoint
from tests.loopback_hub import LoopbackHub
from tests.models import tiny_checkpoint

REPO = "me/tiny"
TOKEN = "hf_" + "Sentinel" * 5
FILES = (
    "README.md",
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
CARD = "---\nlanguage: si\nlicense: apache-2.0\n---\n# Tiny\n"


def go_online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process talk to a hub, as someone with a token."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def checkpoint_with_card(directory: Path) -> Path:
    tiny_checkpoint(directory, hidden=16, layers=1)
    (directory / "README.md").write_text(CARD, encoding="utf-8")
    return directory


def push(hub: LoopbackHub, directory: Path, **options) -> PushResult:
    return push_checkpoint(directory, REPO, endpoint=hub.url, wait=lambda seconds: None, **options)


def content(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in FILES if (directory / name).is_file()}


def remote(hub: LoopbackHub, revision: str = "main") -> dict[str, bytes]:
    files = hub.repositories[REPO].files(revision)
    return {name: blob.content for name, blob in files.items() if name != ".gitattributes"}


def killed_at(hub: LoopbackHub, at: int, moment: str, act: Callable[[], object]) -> int:
    """`act` in a forked process that the hub kills at its request number `at`: `asked`, before it answers, or
    `done`, after. Returns the process's end as `os.waitstatus_to_exitcode` does."""
    children: list[int] = []
    forked = threading.Event()

    def kill(number: int, reached: str) -> bool:
        if (number, reached) != (at, moment):
            return False
        forked.wait()
        os.kill(children[0], signal.SIGKILL)
        os.waitid(os.P_PID, children[0], os.WEXITED | os.WNOWAIT)
        return True

    hub.watch = kill
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            act()
            code = 0
        os._exit(code)
    children.append(child)
    forked.set()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    hub.watch = None
    return status
