"""Commands as documents and help texts show them, run one after the other beside a local hub.

`run_commands` starts one process, which imports what is slow once and forks for each command: every command
begins like one that was typed. Only their sizes are made smaller, by `--set` at their end.
"""

import importlib
import json
import os
import pkgutil
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from extend.cli.main import app
from tests.extend.cli_processes import apart
from tests.loopback_hub import LoopbackHub
from tests.models import tiny_checkpoint

ROOT = Path(__file__).parents[2]
MBERT = "google-bert/bert-base-multilingual-cased"
COMMANDS: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
UYGHUR, LATIN = "ئابپتجخدرزسشغفقكگڭلمنوۇۋېى", "abcdefghijklmnop"
LETTERS = {"ug": UYGHUR, "rw": LATIN, "en": LATIN, "kk": "абвгдежзийкл", "si": "අආකගචජටඩතදන"}
SMALL = (
    "vocab.held_out_lines=20", "pretrain.steps=2", "pretrain.new_rows_steps=2", "pretrain.warmup_steps=1",
    "pretrain.new_rows_warmup_steps=1", "pretrain.length=16", "pretrain.batch_size=4",
    "pretrain.log_every=1", "ner.seeds=1", "ner.epochs=1", "ner.hidden_size=8",
)  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """A command as it was typed, and what came of it."""

    command: str
    code: int
    out: str
    err: str


def shell_commands(text: str) -> list[str]:
    """Lines of a document's shell blocks: continued ones joined, comments and prompts left out."""
    blocks = re.findall(r"^```(?:bash|sh|console|shell)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    typed = [line.removeprefix("$ ") for line in lines]
    return [line for line in typed if line and not line.startswith("#")]


def made_text(language: str, *, lines: int = 250) -> str:
    """Sentences of made words in the letters of a language; the same every time."""
    draw = random.Random(language)
    words = ["".join(draw.choices(LETTERS[language], k=draw.randint(2, 6))) for _ in range(90)]
    return "".join(" ".join(draw.choices(words, k=7)) + "\n" for _ in range(lines))


def made_entities(language: str, *, sentences: int = 12) -> str:
    """Tagged sentences: names are made of the first three letters, other words of the rest."""
    draw = random.Random(f"{language} entities")
    letters = LETTERS[language]
    made = []
    for _ in range(sentences):
        named = [draw.random() < 0.3 for _ in range(6)]
        words = ["".join(draw.choices(letters[:3] if name else letters[3:], k=4)) for name in named]
        made.append(
            "".join(f"{word}\t{'B-PER' if name else 'O'}\n" for word, name in zip(words, named, strict=True))
        )
    return "\n".join(made)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def hub_with_mbert(folder: Path) -> LoopbackHub:
    """A hub that has a tiny BERT under the name of the default base."""
    hub = LoopbackHub()
    base = tiny_checkpoint(folder / "mbert", hidden=16, layers=1)
    hub.add(MBERT, {path.name: path.read_bytes() for path in base.iterdir()})
    return hub


def run_commands(
    commands: Sequence[str],
    folder: Path,
    hub: LoopbackHub,
    *,
    more: Mapping[str, Sequence[str]] | None = None,
    **environment: str,
) -> list[Ran]:
    """Each of `commands` in `folder`, until one fails; `more` has arguments by command to put at the end."""
    plan = [[command, *small(command), *(more or {}).get(command, ())] for command in commands]
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder / "cache"),
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_" + "Sentinel" * 5,
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(folder)],
        input=json.dumps(plan),
        env={**os.environ, **settings, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Ran(**one) for one in json.loads(done.stdout)]


def small(command: str) -> list[str]:
    """What makes this command quick: `--set` for those that take it, a dry run of a whole chain."""
    name = shlex.split(command)[1]
    if name in ("quickstart", "run"):
        return ["--dry-run"]
    parameters = COMMANDS[name].params
    known = {option for one in parameters for option in (*one.opts, *one.secondary_opts)}
    made = ["--no-probe"] if "--no-probe" in known else []
    if not {"--set", "--run"} <= known:
        return made
    return made + [word for one in SMALL for word in ("--set", one)]


def one_command(words: Iterable[str], folder: Path) -> tuple[int, str, str]:
    """Run the words of one command; `> FILE` at its end is carried out as a shell does."""
    typed = [os.path.expandvars(word) for word in words]
    target = typed[place + 1] if (place := typed.index(">") if ">" in typed else 0) else ""
    arguments = [*typed[:place], *typed[place + 2 :]] if target else typed
    code, out, err = apart(folder, *arguments[1:])
    if target:
        (folder / target).write_text(out, encoding="utf-8")
    return code, out, err


def _run_all() -> None:
    """The process of `run_commands`: commands as JSON on stdin, results as JSON on stdout."""
    import extend.recipe

    for part in pkgutil.iter_modules(extend.recipe.__path__):  # imported once, before commands are forked
        importlib.import_module(f"extend.recipe.{part.name}")
    folder, ran = Path(sys.argv[1]), []
    for command, *more in json.load(sys.stdin):
        code, out, err = one_command([*shlex.split(command, comments=True), *more], folder)
        ran.append({"command": command, "code": code, "out": out, "err": err})
        if code:
            break
    json.dump(ran, sys.stdout)


if __name__ == "__main__":
    _run_all()
