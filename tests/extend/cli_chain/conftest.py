"""A run made by the commands one after the other, and copies of it to spoil."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extend.cli import main
from tests.extend.cli_processes import NER, VOCAB, apart
from tests.extend.cli_runs import make_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, corpora and NER sets; never written to."""
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A whole run made by the commands one after the other, and what each printed as JSON."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(inputs, folder, dirs_exist_ok=True)
    printed = {}
    commands = (VOCAB, ("grow",), ("pretrain", "--steps", "12", "--new-rows-steps", "4"), ("ner-eval", *NER))
    for name, *rest in (*commands, ("report",)):
        code, out, err = apart(folder, name, *rest, "--format", "json")
        assert code == 0, err
        printed[name] = json.loads(out)
    return folder, printed


@pytest.fixture
def run(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`extend` in a fresh folder with the inputs."""
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(arguments)


@pytest.fixture
def rerun(finished: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`extend` in a copy of the finished run."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(arguments)
