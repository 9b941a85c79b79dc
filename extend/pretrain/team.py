"""The processes that train one model together, one a device: who they are, and what they tell each other.

accelerate starts them (`torchrun` and `accelerate launch` both set what it reads) and gives each its device.
Three channels join them: gradients go over the device's own backend (nccl, or gloo on CPUs), what is agreed
at every step over gloo between the CPUs; both have little time, since all come there together. Over a third,
also gloo, one may wait long for another that prepares data, evaluates or saves. A process alone is a team of
one, for which nothing here does anything.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, final

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor

from extend.errors import ExtendError, NetworkError, UsageError, WorkerError, escaped
from extend.pretrain.devices import device_of_choice

Value = TypeVar("Value")

STEP_SECONDS = 50
"""Seconds that a process waits for the others within a step, and at the start for the others to come."""

_LAUNCHED_WITH = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

WORK_SECONDS = 7 * 24 * 3600
"""Seconds that processes wait for one that prepares data, evaluates or saves."""


def processes_launched() -> int:
    """How many processes were started together; read from the launcher's variables, without torch."""
    count = os.environ.get("WORLD_SIZE", "1")
    return int(count) if count.isdigit() and "RANK" in os.environ else 1


def check_shares(batch_size: int) -> None:
    """Raises UsageError when `batch_size` samples cannot be shared evenly by the processes launched."""
    processes = processes_launched()
    if batch_size % processes:
        raise UsageError(
            f"pretrain.batch_size ({batch_size}) is not divisible by {processes} processes",
            name="E-CONFIG",
            why="every step's samples are shared evenly",
            done="nothing was read or written",
            next=f"set pretrain.batch_size = {-(-batch_size // processes) * processes}",
        )


@final
@dataclass(frozen=True)
class Team:
    """This process among those that train together: number `rank` of `size`, on `device`."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=device_of_choice)
    prompt: dist.ProcessGroup | None = None
    patient: dist.ProcessGroup | None = None
    members: tuple[tuple[str, int], ...] = ()
    """Host and process id of every member, by rank; empty for a process alone."""

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and talks."""
        return self.rank == 0

    def share_of(self, batch_size: int) -> tuple[int, int]:
        """First sample of this process in a batch, and the one after its last: ranks in order."""
        each = batch_size // self.size
        return self.rank * each, (self.rank + 1) * each

    def sum(self, *numbers: int) -> tuple[int, ...]:
        """The sums of small whole numbers over all processes, which come here together."""
        return self._reduced(numbers, dist.ReduceOp.SUM)

    def largest(self, number: int) -> int:
        """The largest of every process's number; all come here together."""
        return self._reduced((number,), dist.ReduceOp.MAX)[0]

    def _reduced(self, numbers: tuple[int, ...], operation: Any) -> tuple[int, ...]:
        if self.size == 1:
            return numbers
        tensor = torch.tensor(numbers, dtype=torch.int64)
        with self.told():
            dist.all_reduce(tensor, op=operation, group=self.prompt)
        return tuple(tensor.tolist())

    def gather(self, value: Any) -> list[Any]:
        """Every process's value (of JSON), by rank; the others may come late."""
        if self.size == 1:
            return [value]
        ours = json.dumps(value).encode()
        longest = max(sizes := [row[0] for row in self._all_gather(torch.tensor([len(ours)]))])
        padded = torch.frombuffer(bytearray(ours.ljust(longest)), dtype=torch.uint8)
        rows = self._all_gather(padded)
        return [json.loads(bytes(row[:size])) for row, size in zip(rows, sizes, strict=True)]

    def _all_gather(self, ours: Tensor) -> list[list[int]]:
        gathered = [torch.empty_like(ours) for _ in range(self.size)]
        with self.told():
            dist.all_gather(gathered, ours, group=self.patient)
        return [row.tolist() for row in gathered]

    def once(self, work: Callable[[], Value]) -> Value:
        """What `work` (giving JSON) returns when the leading process alone does it; the others wait.

        What it raises it raises in the leading process; the others end with a WorkerError that says so.
        """
        if self.size == 1:
            return work()
        failure: BaseException | None = None
        told: list[Any] = [None, None]
        if self.leads:
            try:
                told = [work(), None]
            except BaseException as error:
                failure, told = error, [None, _said(error)]
        value, said = self.gather(told)[0]
        if failure is not None:
            raise failure
        if said is not None:
            raise WorkerError(f"process 0 ended: {said}", name="E-RANK", done="this process ended too")
        result: Value = value
        return result

    def leading_first(self, work: Callable[[], Value]) -> Value:
        """What `work` returns, done by every process, by the leading one before the others begin."""
        made: list[Value] = []
        self.once(lambda: made.append(work()))
        return made[0] if made else work()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Raises WorkerError, naming the process that died when that can be told, for a lost connection."""
        try:
            yield
        except (RuntimeError, ValueError) as error:
            if self.size == 1 or isinstance(error, torch.OutOfMemoryError):
                raise
            raise self.lost(error) from error

    def lost(self, error: BaseException) -> WorkerError:
        """The told form of a connection that broke or stayed silent."""
        dead = [number for number in range(len(self.members)) if self._is_dead(number)]
        who = f"process {', '.join(map(str, dead))} of {self.size} died" if dead else "a process fell silent"
        first = (str(error).strip().splitlines() or [""])[0]
        return WorkerError(
            f"{who}; process {self.rank} ended too",
            name="E-RANK",
            why=escaped(first, limit=160),
            done="the last checkpoint is intact",
            next="look at what the other processes said, then run the same command",
        )

    def _is_dead(self, number: int) -> bool:
        """Whether a member on this machine is gone. One that is just ending gets two seconds to do so."""
        host, process = self.members[number]
        if host != socket.gethostname() or number == self.rank:
            return False
        until = time.monotonic() + 2.0
        while _is_running(process):
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except ProcessLookupError:
        return False
    except OSError:  # another user's process, or a system without /proc
        return True
    return state.rpartition(")")[2].split()[0] not in "ZX"


def _said(error: BaseException) -> str:
    first = error.what if isinstance(error, ExtendError) else f"{type(error).__name__}: {error}"
    return escaped(first, limit=160)


@contextmanager
def joined(*, seconds: float | None = None) -> Iterator[Team]:
    """The team that this process was launched into; alone when it was not launched with others.

    `seconds` is how long one waits for the others within a step, by default 50. Raises NetworkError when the
    processes cannot find each other in that time.
    """
    if processes_launched() == 1:
        yield Team()
        return
    missing = [name for name in _LAUNCHED_WITH if name not in os.environ]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} is not set, but WORLD_SIZE is",
            name="E-CONFIG",
            next="start the processes with torchrun or accelerate launch",
        )
    ours = not dist.is_initialized()
    try:
        team = _met(timedelta(seconds=seconds or STEP_SECONDS))
    except (dist.DistError, RuntimeError, OSError) as error:
        raise _unreachable(error) from error
    try:
        yield team
    finally:
        if ours:
            PartialState._reset_state()
            dist.destroy_process_group()


def _met(step: timedelta) -> Team:
    if not dist.is_initialized():
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # else accelerate chooses
        PartialState(cpu=device_of_choice().type == "cpu", timeout=step)
    prompt = dist.new_group(backend="gloo", timeout=step)
    patient = dist.new_group(backend="gloo", timeout=timedelta(seconds=WORK_SECONDS))
    rank, size, device = dist.get_rank(), dist.get_world_size(), PartialState().device
    everyone = Team(rank, size, device, prompt, patient).gather([socket.gethostname(), os.getpid()])
    members = tuple((str(host), int(process)) for host, process in everyone)
    return Team(rank, size, device, prompt, patient, members)


def _unreachable(error: BaseException) -> NetworkError:
    place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    return NetworkError(
        f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} cannot meet the others at {place}",
        name="E-RENDEZVOUS",
        why=escaped((str(error).strip().splitlines() or [""])[0], limit=160),
        done="nothing was changed",
        next="check MASTER_ADDR and MASTER_PORT (free, and reachable from every machine)",
    )


def check_agreement(team: Team, facts: Mapping[str, Any]) -> None:
    """Raises UsageError when processes have other `facts` (of JSON): settings, data, versions."""
    everyone = team.gather(facts)
    for rank, theirs in enumerate(everyone):
        different = _different(everyone[0], theirs)
        if different:
            raise UsageError(
                f"process {rank} disagrees with process 0 about {', '.join(different[:3])}",
                name="E-RANKS-DIFFER",
                why=_shown(everyone[0], theirs, different[0]),
                done="nothing was changed",
                next="start every process with the same command, files and versions",
            )


def _different(first: Mapping[str, Any], other: Mapping[str, Any]) -> Sequence[str]:
    return [key for key in sorted({*first, *other}) if first.get(key) != other.get(key)]


def _shown(first: Mapping[str, Any], other: Mapping[str, Any], key: str) -> str:
    return f"{key}: {escaped(str(first.get(key)), limit=60)} and {escaped(str(other.get(key)), limit=60)}"
