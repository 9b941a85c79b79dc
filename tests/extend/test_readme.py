"""README, CONTRIBUTING and docs say what is there: commands, options, exit codes, files, tests."""

import itertools
import re
import shlex
from pathlib import Path

import pytest
import typer

from extend import errors
from extend.cli.main import app
from extend.config import load_settings, parse_overrides

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def shell_commands() -> list[list[str]]:
    """Every `extend ...` of the README's shell blocks, continued lines joined, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("extend ")]


def test_the_walk_has_every_step() -> None:
    steps = [words[1] for words in shell_commands()]
    assert steps == ["pretrain", "vocab", "grow", "pretrain", "ner-eval", "ner-eval", "report", "push"]


@pytest.mark.parametrize("words", shell_commands(), ids=lambda words: " ".join(words[1:4]))
def test_every_option_of_the_walk_exists(words: list[str]) -> None:
    known = {option for parameter in COMMANDS[words[1]].params for option in parameter.opts}
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= known
    assigned = [value for option, value in itertools.pairwise(words) if option == "--set"]
    load_settings(None, parse_overrides(assigned))


def test_the_table_lists_every_command() -> None:
    told = set(re.findall(r"^\| `extend ([a-z-]+)", README, re.MULTILINE))
    assert told == set(COMMANDS)


def test_every_exit_code_is_told() -> None:
    codes = {kind.exit_code for kind in vars(errors).values() if hasattr(kind, "exit_code")}
    told = {int(code) for code in re.findall(r"\| (\d+) (?=\|)", README)}
    assert codes <= told
    assert told == codes | {0}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/files.md"])
def test_what_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    paths = re.findall(r"`((?:extend|ner|tests|configs|docs)/[\w./-]+)`", text)
    beside = [(ROOT / page).parent / link for link in links] + [ROOT / path for path in paths]
    run_folders = ("ner/NAME", "runs/")
    missing = [
        path for path in beside if not path.exists() and not any(part in str(path) for part in run_folders)
    ]
    assert missing == []


def test_the_tests_that_contributors_are_sent_to_exist() -> None:
    for name in re.findall(r"`(test_\w+)`", CONTRIBUTING):
        assert any(
            f"def {name}(" in path.read_text(encoding="utf-8") for path in ROOT.glob("tests/*/test_*.py")
        ), name


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z0-9-]+)", README + CONTRIBUTING)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
