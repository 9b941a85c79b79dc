"""`extend` in forked processes and on copies of a run, for tests of the command line."""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from extend.cli import main
from tests.extend.cli_runs import QUICK

NER = (
    "--train", "en=en.train.conll", "--test", "en=en.test.conll",
    "--train", "ka=ka.train.conll", "--test", "ka=ka.test.conll",
    "--seeds", "2",
)  # fmt: skip
VOCAB = ("vocab", "--lang", "ka", "--base", "base", "--corpus", "ka.txt", "--size", "60", *QUICK)


def apart(
    folder: Path, *arguments: str, prepare: Callable[[], object] = lambda: None
) -> tuple[int, str, str]:
    """`extend` in a process of its own, forked so that torch is not imported anew: code, stdout, stderr."""
    child, out, err = started(folder, *arguments, prepare=prepare)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")


def started(
    folder: Path, *arguments: str, prepare: Callable[[], object] = lambda: None
) -> tuple[int, Path, Path]:
    out, err = (Path(tempfile.mkstemp(dir=folder.parent)[1]) for _ in range(2))
    child = os.fork()
    if child:
        return child, out, err
    code = 99
    try:
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with open(out, "w", encoding="utf-8") as sys.stdout, open(err, "w", encoding="utf-8") as sys.stderr:
            prepare()
            code = main(arguments)
    finally:
        os._exit(code)


def undo(*stages: str) -> None:
    """Take the run back to before `stages`, as if they had never been."""
    folder = Path("runs/ka")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for stage in stages:
        del manifest["stages"][stage]
        shutil.rmtree(folder / {"grow": "grown"}.get(stage, stage))
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    shutil.rmtree(folder / "model")


def files(folder: Path) -> dict[str, bytes]:
    """What every file holds; the lock says who came last, which is no result."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
