"""Teams of real processes on this machine, joined by gloo: forked, so that torch is not imported anew."""

import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from extend.errors import ExtendError
from extend.pretrain import Team, joined


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun tells a process."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def start_team(folder: Path, work: Callable[[Team], object], *, size: int) -> list[int]:
    """Fork `size` processes that do `work` together; what each says goes to `folder`/rank-N.txt."""
    port = free_port()
    return [start_process(folder, rank, work, environment(rank, size, port)) for rank in range(size)]


def start_process(folder: Path, rank: int, work: Callable[[Team], object], variables: dict[str, str]) -> int:
    """Fork a process that meets its team and does `work` with it."""

    def met() -> None:
        with joined() as team:
            work(team)

    return start(folder, rank, met, variables)


def start(folder: Path, rank: int, work: Callable[[], object], variables: dict[str, str]) -> int:
    """Fork a process with these variables for `work`, which ends with the code that `extend` would."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.environ.update(variables)
        with open(folder / f"rank-{rank}.txt", "w", encoding="utf-8") as said:
            os.dup2(said.fileno(), 2)
            sys.stderr = said
            code = _told(work)
    finally:
        os._exit(code)


def _told(work: Callable[[], object]) -> int:
    try:
        work()
    except ExtendError as error:
        print(error.message("pretrain"), file=sys.stderr, flush=True)
        return error.exit_code
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    return 0


def codes(children: Sequence[int]) -> list[int]:
    """Exit codes, by rank; minus the signal for one that was killed."""
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def said(folder: Path, rank: int) -> str:
    return (folder / f"rank-{rank}.txt").read_text(encoding="utf-8")
