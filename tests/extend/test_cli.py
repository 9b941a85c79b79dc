"""The command line before any run is made: help, wrong usage, the forms of output and of failure."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from extend import errors
from extend.cli import main
from extend.cli.failures import as_told, tell
from extend.cli.main import app
from extend.errors import DataError

PROMISED = {
    "vocab", "grow", "pretrain", "blend", "ner-eval", "ner-score", "ner-compare", "ner-tag",
    "delta", "apply", "remove", "report", "push", "run", "quickstart", "env", "init", "config",
}  # fmt: skip
COMMANDS = sorted(str(command.name) for command in app.registered_commands)
ON_A_RUN = {"vocab", "grow", "delta", "pretrain", "blend", "ner-eval", "report", "push", "run"}
SHARED = ("--format", "--dry-run", "--seed", "--offline", "--debug")
OF_A_RUN = ("--lang", "--run", "--config", "--base", "--corpus", "--set")
HELP_SECONDS = 0.35


def _extend(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "extend.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )  # type: ignore[call-overload,no-any-return]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_names_every_command_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert set(COMMANDS) >= PROMISED
    for command in COMMANDS:
        assert re.search(rf"^\W+{command}\s", shown, re.MULTILINE), command
    assert "Examples" in shown
    assert "extend run configs/si.toml" in shown


def test_no_arguments_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: extend" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_shared_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    for option in (*SHARED, *(OF_A_RUN if command in ON_A_RUN else ())):
        assert f"{option} " in shown, option


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"extend \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_help_is_quick() -> None:
    """The least processor time of several tries: on an idle machine the time it takes."""
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert _extend("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < HELP_SECONDS


@pytest.mark.parametrize("arguments", [["--help"], ["vocab", "--help"], ["vocab", "--sise", "3"]])
def test_an_early_answer_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        f"import sys; from extend.cli import main; main({arguments!r}); "
        "heavy = {'torch', 'transformers', 'tokenizers', 'numpy', 'langcodes', 'extend.recipe'}; "
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["vocab", "--sise", "3"], "no such option: --sise (Possible options: --seed, --set, --size)"),
        (["vocabulary"], "no such command 'vocabulary'"),
        (["vocab", "--size", "many"], "invalid value for '--size'"),
        (["vocab", "--size", "0"], "invalid value for '--size'"),
        (["env", "--format", "xml"], "invalid value for '--format'"),
        (["ner-score", "gold.conll"], "missing argument"),
        (["push"], "missing argument 'USER/NAME'"),
        (["vocab", "extra"], "unexpected extra argument"),
        (["pretrain", "--seed", "-1"], "invalid value for '--seed'"),
    ],
)
def test_wrong_usage_is_told_in_the_message_form(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    first, *rest = captured.err.splitlines()
    assert captured.out == ""
    assert "error[E-USAGE]: " in first
    assert told in first.replace("\\n", " ")
    assert len(first) <= 200
    assert rest == ["  next: add --help to see what is known"]


def test_a_failure_is_one_json_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vocab", "--lang", "xx", "--format", "json"]) == 2
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert list(error) == ["name", "exit_code", "what", "why", "done", "next"]
    assert (error["name"], error["exit_code"]) == ("E-LANGUAGE", 2)
    assert captured.err.startswith("extend vocab: error[E-LANGUAGE]: ")


def test_wrong_usage_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vocab", "--format=json", "--sise", "3"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["name"] == "E-USAGE"


def test_every_bad_key_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vocab", "--lang", "ug", "--set", "vocab.sise=3", "--set", "pretrain.leraning_rate=1"]) == 2
    shown = capsys.readouterr().err
    assert "2 bad settings" in shown
    assert "did you mean size?" in shown
    assert "did you mean learning_rate?" in shown
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "commands", [["vocab"], ["grow"], ["pretrain"], ["ner-eval"], ["report"], ["push", "a/b"]]
)
def test_without_any_run_the_way_to_one_is_told(
    commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(commands) == 2
    assert "there is none under runs/" in capsys.readouterr().err


def test_a_bad_setting_is_told_before_torch_is_imported() -> None:
    program = (
        "import sys; from extend.cli import main\n"
        "codes = [main(['vocab', '--lang', 'xx']), main(['grow', '--lang', 'ug', '--set', 'grow.int=1'])]\n"
        "sys.exit('torch' in sys.modules or codes != [2, 2])"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def _make_run_of(language: str) -> None:
    folder = Path("runs") / language
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text(f'lang = "{language}"\n', encoding="utf-8")


def test_several_runs_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("si", "ug"):
        _make_run_of(name)
    assert main(["report"]) == 2
    assert "there are si, ug" in capsys.readouterr().err


def test_a_run_folder_serves_one_language(capsys: pytest.CaptureFixture[str]) -> None:
    _make_run_of("ug")
    assert main(["vocab", "--run", "runs/ug", "--lang", "Sinhala"]) == 8
    assert capsys.readouterr().err.splitlines()[:2] == [
        "language: si = Sinhala (සිංහල), si-Sinh, ISO 639-3 sin",
        "extend vocab: error[E-RUN-MISMATCH]: run folder runs/ug is for ug, not si",
    ]


def test_a_path_too_long_is_a_path_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vocab", "--lang", "ka", "--run", "x" * 4000]) == 4
    assert "error[E-PATH]" in capsys.readouterr().err


def test_env_is_one_block_without_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_SENTINEL")
    monkeypatch.setenv("HF_ENDPOINT", "https://somebody:hf_SENTINEL@hub.example/x")
    assert main(["env"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("```\n")
    assert shown.endswith("```\n")
    assert "https://hub.example/x" in shown
    assert "SENTINEL" not in shown
    assert main(["env", "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["packages"]["torch"].startswith("2.")
    assert {"extend", "python", "platform", "processors", "torch_threads", "bf16", "hub_endpoint"} <= set(
        facts
    )


def test_offline_is_set_before_any_hub_library_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    program = (
        "import sys; from extend.cli import main\n"
        "code = main('vocab --lang ug --base nobody/nothing --corpus ug.txt --offline'.split())\n"
        "from huggingface_hub.constants import HF_HUB_OFFLINE as offline; sys.exit(code * 10 + offline)"
    )
    Path("ug.txt").write_text("بىر\n" * 500, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 61, done.stderr
    assert "error[E-" in done.stderr


def test_a_reader_that_goes_away_is_not_an_error() -> None:
    read, write = os.pipe()
    os.close(read)
    Path("gold.conll").write_text("Colombo\tB-LOC\n\n", encoding="utf-8")
    score = ["ner-score", "gold.conll", "gold.conll"]
    for arguments in (["--help"], score, [*score, "--format", "json"]):
        done = subprocess.run(
            [sys.executable, "-m", "extend.cli", *arguments],
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (141, b"")
    os.close(write)


def test_completion_knows_commands_and_options() -> None:
    for typed, offered in (
        ("extend ner-", ["ner-eval", "ner-score", "ner-compare", "ner-tag"]),
        ("extend grow --in", ["--init"]),
    ):
        wanted = {
            "_EXTEND_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(typed.count(" ")),
        }
        program = "import sys; from extend.cli import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **wanted},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout.split(), done.stderr) == (0, offered, "")


def test_a_plain_terminal_gets_escapes() -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    _make_run_of("si")
    done = _extend("vocab", "--run", "runs/si", "--lang", "Uyghur", "--format", "json", env=environment)
    assert done.returncode == 8
    assert "language: ug = Uyghur (\\u0626" in done.stderr
    assert json.loads(done.stdout)["error"]["exit_code"] == 8


@pytest.mark.parametrize(
    ("raised", "code", "name"),
    [
        (DataError("bad", name="E-DATA"), 3, "E-DATA"),
        (KeyboardInterrupt(), 130, "E-INTERRUPTED"),
        (MemoryError(), 10, "E-MEMORY"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 10, "E-MEMORY"),
        (FileNotFoundError(2, "No such file or directory", "corpus.txt"), 4, "E-PATH"),
        (OSError(28, "No space left on device", "model.safetensors"), 5, "E-NO-SPACE"),
        (RuntimeError("Error while serializing: I/O error: File too large (os error 27)"), 5, "E-NO-SPACE"),
        (RuntimeError("Permission denied (os error 13)"), 4, "E-PATH"),
        (ModuleNotFoundError("No module named 'gensim'", name="gensim"), 2, "E-PACKAGE"),
    ],
)
def test_what_a_failure_is_told_as(raised: BaseException, code: int, name: str) -> None:
    told = as_told(raised)
    assert told is not None
    assert (told.exit_code, told.name) == (code, name)


def test_every_kind_of_failure_ends_with_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ExtendError)
    ]
    for kind in kinds:
        assert tell(kind("it failed", name="E-TEST", next="try this"), command="run") == kind.exit_code
        assert capsys.readouterr().err == "extend run: error[E-TEST]: it failed\n  next: try this\n"


def test_a_bug_is_one_line_and_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("not foreseen \u202e\nsecond line")
    except ValueError as bug:
        code = tell(bug, command="grow", json_too=True, directory=tmp_path)
    captured = capsys.readouterr()
    assert code == 1
    assert captured.err.startswith(
        "extend grow: error[E-BUG]: a bug in extend (ValueError: not foreseen \\u202e)\n"
    )
    assert "Traceback" not in captured.err
    (log,) = tmp_path.glob("extend-error-*.log")
    assert "Traceback" in log.read_text(encoding="utf-8")
    assert str(log) in json.loads(captured.out)["error"]["done"]


def test_debug_shows_the_traceback_and_leaves_no_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell(ValueError("not foreseen"), command="grow", debug=True, directory=tmp_path) == 1
    assert (
        "\nextend grow: error[E-BUG]: a bug in extend (ValueError: not foreseen)" in capsys.readouterr().err
    )
    assert list(tmp_path.glob("*.log")) == []
