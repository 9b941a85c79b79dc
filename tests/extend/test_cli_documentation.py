"""Every command that the documents show can be typed, and every configuration that is shipped is read."""

import re
import shlex
from pathlib import Path
from typing import get_origin

import pytest

from extend.cli import main
from extend.config import RunSettings, load_settings
from extend.languages import resolve
from tests.extend.documentation_runs import shell_commands

ROOT = Path(__file__).parents[2]
DOCUMENTS = [path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")) if path.is_file()]
CONFIGURATIONS = sorted(ROOT.glob("configs/*.toml"))


def _commands(text: str) -> list[str]:
    """The `extend ...` lines of a document's shell blocks."""
    return [line for line in shell_commands(text) if line.startswith("extend ")]


COMMANDS = [
    pytest.param(command, id=f"{path.name}: {command[:60]}")
    for path in DOCUMENTS
    for command in _commands(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_can_be_typed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Parsed as typed; `--help` then stops it before it does anything."""
    _, *arguments = shlex.split(command, comments=True)
    assert main([*arguments, "--help"]) == 0, capsys.readouterr().err


def test_the_readme_shows_the_chain_from_text_to_hub() -> None:
    commands = _commands((ROOT / "README.md").read_text(encoding="utf-8"))
    typed = [command.split()[1] for command in commands]
    for name in ("vocab", "grow", "pretrain", "ner-eval", "report", "push"):
        assert name in typed


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_a_shipped_configuration_is_read_and_names_its_command(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(path)
    if settings.lang:
        assert resolve(settings.lang).code == path.stem
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# extend ")
    _, *arguments = shlex.split(first.removeprefix("# "))
    assert f"configs/{path.name}" in arguments
    assert main([*arguments, "--help"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_documented_setting_exists(document: Path) -> None:
    for key in re.findall(r"--set\s+([a-z_]+(?:\.[a-z_]+)*)=", document.read_text(encoding="utf-8")):
        kind: object = RunSettings
        for part in key.split("."):
            if get_origin(kind) is dict:  # a method's own settings
                break
            assert isinstance(kind, type)
            assert part in kind.model_fields, key  # type: ignore[attr-defined]
            kind = kind.model_fields[part].annotation  # type: ignore[attr-defined]
