"""A tiny run of the real recipe, killed and started again in forked processes, compared byte by byte.

One process imports the libraries and forks a child a trial. The run: a BERT of 2 layers and 32 dimensions,
dropout on, two forward passes a step, 24 steps in two stages over three epochs, saved every 4 steps.
"""

import json
import os
import random
import re
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extend import recipe
from extend.config import load_settings
from extend.errors import ExtendError
from extend.languages import resolve
from tests.extend.cli_runs import GEORGIAN
from tests.models import PIECES, tiny_checkpoint
from tests.reliability.disk import ending, in_child

STEPS, SAVE_EVERY = 24, 4
SETTINGS = {
    "lang": "ka",
    "vocab.size": 60,
    "vocab.held_out_lines": 40,
    "vocab.processes": 1,
    "pretrain.processes": 1,
    "pretrain.steps": STEPS,
    "pretrain.new_rows_steps": 9,
    "pretrain.length": 32,
    "pretrain.batch_size": 8,
    "pretrain.micro_batch": 4,
    "pretrain.warmup_steps": 4,
    "pretrain.new_rows_warmup_steps": 2,
    "pretrain.save_every": SAVE_EVERY,
    "pretrain.log_every": 1,
    "pretrain.eval_every": 7,
}
_OF_TIME = re.compile(r"second|_ms$|resumed_from|memory|versions|warnings")


def open_run(directory: Path, **pretrain: Any) -> recipe.Run:
    """The run in `directory`, whose inputs lie beside it or above; `pretrain` are settings of its own."""
    inputs = next(folder / "inputs" for folder in directory.parents if (folder / "inputs").is_dir())
    given = {**SETTINGS, "base": str(inputs / "base"), "corpus": [str(inputs / "ka.txt")]}
    given |= {f"pretrain.{key}": value for key, value in pretrain.items()}
    return recipe.open_run(load_settings(None, given), directory, resolve("ka"))


def make_inputs(directory: Path) -> None:
    """`base/` with a vocabulary of 500 and `ka.txt`, enough text for 64 blocks."""
    pieces = (*PIECES, *(f"q{number}" for number in range(500 - len(PIECES))))
    tiny_checkpoint(directory / "base", pieces=pieces)
    draw = random.Random("ka")
    words = ["".join(draw.choices(GEORGIAN, k=draw.randint(2, 5))) for _ in range(120)]
    lines = [" ".join(draw.choices(words, k=8)) for _ in range(170)]
    (directory / "ka.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Prepared:
    """A run ready to be pretrained, what an uninterrupted pretraining of it leaves, and what it does.

    `places` are its operations in order, `saving` the numbers of those that save a checkpoint.
    """

    directory: Path
    expected: dict[str, Any]
    places: list[tuple[str, str]]
    seconds: float

    @property
    def saving(self) -> list[int]:
        return [number for number, (_, path) in enumerate(self.places) if "checkpoints" in path]

    def copy(self, name: str) -> Path:
        """The run, not yet pretrained, in a folder of its own."""
        target = self.directory.parent / "trials" / name
        shutil.rmtree(target, ignore_errors=True)
        return Path(shutil.copytree(self.directory, target))


def prepare(folder: Path) -> Prepared:
    """Vocabulary, growth and tokenised text in `folder/prepared`, and the uninterrupted result."""
    make_inputs(folder / "inputs")
    prepared = folder / "prepared"
    assert train(prepared) == 0, said(prepared)
    for part in ("metrics.jsonl", "held_out.jsonl", "events.jsonl", "report.json"):
        (prepared / "pretrain" / part).unlink(missing_ok=True)
    shutil.rmtree(prepared / "pretrain" / "checkpoints")
    shutil.rmtree(prepared / "model")
    manifest = json.loads((prepared / "manifest.json").read_text(encoding="utf-8"))
    del manifest["stages"]["pretrain"]
    (prepared / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    straight = Path(shutil.copytree(prepared, folder / "straight"))
    places = straight.with_name("places.json")
    begun = time.monotonic()
    assert train(straight, count_to=places) == 0, said(straight)
    return Prepared(prepared, results(straight), json.loads(places.read_text()), time.monotonic() - begun)


def train(
    directory: Path,
    *,
    end_at: int | None = None,
    count_to: Path | None = None,
    spoil: Callable[[], object] = lambda: None,
) -> int:
    """Pretrain in a child: its exit code, or minus the signal that ended it.

    `end_at` kills it at that operation; `spoil` is called in the child first.
    """
    return in_child(lambda: _train(directory, end_at, count_to, spoil))


def _train(directory: Path, end_at: int | None, count_to: Path | None, spoil: Callable[[], object]) -> int:
    kill = (lambda: os.kill(os.getpid(), signal.SIGKILL)) if end_at is not None else lambda: None
    try:
        spoil()
        with ending(-1 if end_at is None else end_at, kill) as seen:
            recipe.pretrain(open_run(directory))
    except ExtendError as error:
        _note(directory, error.message("pretrain"))
        return error.exit_code
    except BaseException:
        _note(directory, traceback.format_exc())
        return 1
    if count_to:
        inside = [(name, os.path.relpath(path, directory)) for name, path in seen.places]
        count_to.write_text(json.dumps(inside))
    return 0


def _note(directory: Path, text: str) -> None:
    directory.with_name(f"{directory.name}.said").write_text(text, encoding="utf-8")


def said(directory: Path) -> str:
    """What the last child that failed there said."""
    path = directory.with_name(f"{directory.name}.said")
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def killed_after(directory: Path, seconds: float, spoil: Callable[[], object] = lambda: None) -> int:
    """Pretrain in a child that is killed after `seconds`: its exit code or minus the signal."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = _train(directory, None, None, spoil)
        finally:
            os._exit(code)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def results(directory: Path) -> dict[str, Any]:
    """All that a finished run must have alike, however often it was stopped."""
    newest = max((directory / "pretrain" / "checkpoints").glob("step-*[0-9]"))
    found: dict[str, Any] = {"newest": newest.name}
    for path in (*newest.glob("*.safetensors"), directory / "model" / "model.safetensors"):
        found[str(path.relative_to(directory))] = path.read_bytes()
    found["state.json"] = _timeless(json.loads((newest / "state.json").read_text()))
    found["report.json"] = _timeless(json.loads((directory / "pretrain" / "report.json").read_text()))
    for name in ("metrics.jsonl", "held_out.jsonl"):
        lines = (directory / "pretrain" / name).read_text(encoding="utf-8").splitlines()
        found[name] = [_timeless(json.loads(line)) for line in lines]
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if not _OF_TIME.search(key)}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def differences(prepared: Prepared, directory: Path) -> str:
    """What of a finished run is not as in the uninterrupted one; nothing where all is alike."""
    try:
        found = results(directory)
    except (OSError, ValueError, KeyError) as error:
        return f"the run is not whole: {error!r}"
    expected = prepared.expected
    odd = [name for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name)]
    return "; ".join(f"{name} {shown(expected.get(name), found.get(name))}".strip() for name in odd)


def shown(expected: Any, found: Any) -> str:
    """The first difference of two tables or lists; nothing for bytes."""
    if isinstance(expected, dict) and isinstance(found, dict):
        key = next(
            key for key in sorted(expected.keys() | found.keys()) if expected.get(key) != found.get(key)
        )
        return f"{key}: {expected.get(key)!r} expected, {found.get(key)!r} found"
    if isinstance(expected, list) and isinstance(found, list):
        place = next((n for n, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), -1)
        return (
            f"of {len(found)} lines for {len(expected)}: {expected[place]!r} expected, {found[place]!r} found"
        )
    return ""


def trial(
    prepared: Prepared,
    name: str,
    *,
    seed: int,
    kills: int = 1,
    aimed: bool,
    at: int | None = None,
    spoil: Callable[[], object] = lambda: None,
) -> str:
    """Kill a run `kills` times, starting it again each time, let it end: what is wrong with it, if anything.

    An aimed kill comes at an operation of a save (`at`, or a random one), each of several aimed ones soon
    after the start; the others come at a random moment.
    """
    draw, directory = random.Random(seed), prepared.copy(name)
    history = []
    for _ in range(kills):
        if aimed:
            soon = draw.randrange(max(200, 2 * len(prepared.places) // kills))
            place = at or (draw.choice(prepared.saving) if kills == 1 else soon)
            code = train(directory, end_at=place, spoil=spoil)
            history.append(f"at operation {place}: {code}")
        else:
            seconds = draw.uniform(0.0, 1.1 * prepared.seconds)
            code = killed_after(directory, seconds, spoil)
            history.append(f"after {seconds:.3f} s: {code}")
        if code not in (0, -signal.SIGKILL) or (kills > 1 and code == 0):
            return f"seed {seed}, {'; '.join(history)}: {said(directory)}"
    code = train(directory, spoil=spoil)
    wrong = said(directory) if code else differences(prepared, directory)
    if not wrong:
        shutil.rmtree(directory)
        return ""
    return f"seed {seed}, {'; '.join(history)}, then {code}: {wrong}"
