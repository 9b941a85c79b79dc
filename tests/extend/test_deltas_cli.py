"""extend delta, apply and remove as they are typed: results, exit codes, and a run made by the chain."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from extend.cli import deltas, main
from extend.cli.main import app
from tests.extend.cli_processes import VOCAB, files
from tests.extend.cli_runs import make_inputs
from tests.extend.delta_runs import SINHALA, UYGHUR, checkpoint_files, make_base, make_run, train
from tests.extend.written_tokenizers import read_here

if "delta" not in {command.name for command in app.registered_commands}:
    deltas.register(app)

Extend = Callable[..., tuple[int, str, str]]


@pytest.fixture
def extend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Extend:
    """The command line in a folder with a base and two runs: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    read_here(monkeypatch)
    base = make_base(Path("base"))
    make_run(Path("runs/si"), base, SINHALA)
    make_run(Path("runs/ug"), base, UYGHUR, language="ug", seed=2)
    capsys.readouterr()

    def run(*arguments: str) -> tuple[int, str, str]:
        return main(arguments), *capsys.readouterr()

    return run


def test_three_commands_from_a_run_and_back(extend):
    code, out, err = extend("delta", "--lang", "si", "--out", "si.d", "--format", "json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["language"], told["added"], told["width"], told["dtype"]) == ("si", 4, 32, "float32")
    assert told["base"] == {"name": "base", "revision": None}
    assert extend("delta", "--run", "runs/ug", "--out", "ug.d", "--half")[0] == 0
    code, out, err = extend("apply", "ug.d", "si.d", "--base", "base", "--out", "both", "--format", "json")
    assert code == 0, err
    assert [one["language"] for one in json.loads(out)["deltas"]] == ["si", "ug"]
    code, out, err = extend(
        "remove", "both", "--language", "ug", "--base", "base", "--out", "one", "--format", "json"
    )
    assert code == 0, err
    assert (json.loads(out)["removed"], json.loads(out)["kept"]) == (["ug"], ["si"])
    assert checkpoint_files(Path("one")) == files(Path("runs/si/grown"))
    assert extend("remove", "one", "--base", "base", "--out", "back")[0] == 0
    assert files(Path("back")) == files(Path("base"))


def test_text_for_people(extend):
    code, out, _ = extend("delta", "--lang", "ug", "--out", "ug.d", "--half")
    assert code == 0
    for line in ("out: ug.d", "language: ug", "base: base", "added: 3", "dtype: float16"):
        assert line in out.splitlines()
    extend("delta", "--lang", "si", "--out", "si.d")
    code, out, _ = extend("apply", "si.d", "ug.d", "--base", "base", "--out", "both")
    assert "shared: 1" in out.splitlines()
    assert [word for word in ("si", "ug") if word in out] == ["si", "ug"]
    code, out, _ = extend("remove", "both", "--language", "si", "--base", "base", "--out", "new")
    assert {"removed: si", "kept: ug"} <= set(out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (("apply", "nothing", "--base", "base", "--out", "new"), 4, "E-PATH"),
        (("apply", "si.d", "--base", "nowhere/", "--out", "new"), 4, "E-PATH"),
        (("apply", "si.d", "si.d", "--base", "base", "--out", "new"), 2, "E-DELTA-TWICE"),
        (("apply", "si.d", "--base", "base", "--out", "si.d"), 2, "E-OUTPUT"),
        (("apply", "si.d", "--base", "base", "--out", "runs"), 4, "E-OUTPUT"),
        (("apply", "si.d", "--base", "base"), 2, "E-USAGE"),
        (("apply", "si.d", "--base", "runs/si/grown", "--out", "new"), 8, "E-DELTA-BASE"),
        (("apply", "cut.d", "--base", "base", "--out", "new"), 8, "E-DELTA"),
        (("apply", "link.d", "--base", "base", "--out", "new"), 11, "E-LINK"),
        (("delta", "--lang", "si", "--out", "base/inside"), 2, "E-OUTPUT"),
        (("delta", "--lang", "si", "--out", "si.d"), 4, "E-OUTPUT"),
        (("delta", "--lang", "si", "--out", "new", "--half", "--dtype", "bfloat16"), 2, "E-USAGE"),
        (("delta", "--lang", "si", "--out", "new", "--checkpoint", "model"), 2, "E-STAGE"),
        (("delta", "--run", "runs/ug", "--out", "new", "--checkpoint", "model"), 8, "E-DELTA-TRAINED"),
        (("remove", "runs/si/grown", "--base", "base", "--language", "si", "--out", "new"), 2, "E-LANGUAGE"),
        (("remove", "base", "--base", "base", "--out", "new"), 8, "E-DELTA-BASE"),
        (("remove", "nothing", "--base", "base", "--out", "new"), 4, "E-PATH"),
        (("remove", "runs/ug/model", "--base", "base", "--out", "new"), 8, "E-DELTA-TRAINED"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)], ids=["", "dry"])
def test_what_is_refused_ends_with_its_exit_code_and_writes_nothing(extend, arguments, code, name, dry_run):
    extend("delta", "--lang", "si", "--out", "si.d")
    shutil.copytree("si.d", "cut.d")
    Path("cut.d/rows.safetensors").write_bytes(Path("si.d/rows.safetensors").read_bytes()[:-1])
    shutil.copytree("si.d", "link.d")
    Path("link.d/added.txt").unlink()
    Path("link.d/added.txt").symlink_to("../si.d/added.txt")
    run = make_run(Path("runs/ug2"), Path("base"), UYGHUR, language="ug", seed=2)
    shutil.copytree(train(run, rows=[4]), "runs/ug/model")
    before = files(Path())
    found, out, err = extend(*arguments, *dry_run, "--format", "json")
    assert found == code, err
    error = json.loads(out)["error"]
    assert (error["name"], error["exit_code"]) == (name, code)
    first = err.splitlines()[-1 - sum(bool(error[key]) for key in ("why", "done", "next"))]
    assert first.startswith(f"extend {arguments[0]}: error[{name}]: ")
    assert len(first) <= 200
    assert files(Path()) == before


def test_a_dry_run_of_each_prints_what_would_be(extend):
    extend("delta", "--lang", "si", "--out", "si.d")
    before = files(Path())
    for arguments in (
        ("delta", "--lang", "ug", "--out", "new"),
        ("apply", "si.d", "--base", "base", "--out", "new"),
        ("remove", "runs/si/grown", "--base", "base", "--out", "new"),
    ):
        code, out, err = extend(*arguments, "--dry-run", "--format", "json")
        assert code == 0, err
        assert json.loads(out)["out"] == "new"
    assert files(Path()) == before


def test_the_chain_s_own_run_goes_out_and_comes_back(tmp_path, monkeypatch, capsys):
    """vocab and grow as typed, then the delta: every file of the checkpoint, byte by byte."""
    make_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    read_here(monkeypatch)
    for arguments in (
        VOCAB,
        ("grow",),
        ("delta", "--out", "ka.d"),
        ("apply", "ka.d", "--base", "base", "--out", "out"),
        ("remove", "out", "--base", "base", "--out", "back"),
    ):
        assert main(arguments) == 0, capsys.readouterr().err
    grown = files(Path("runs/ka/grown"))
    for name, data in checkpoint_files(Path("out")).items():
        assert grown[name] == data, name
    assert {"model.safetensors", "config.json", "tokenizer.json", "vocab.txt"} <= checkpoint_files(
        Path("out")
    ).keys()
    assert Path("ka.d/added.txt").read_bytes() == Path("runs/ka/vocab/added.txt").read_bytes()
    assert files(Path("back")) == files(Path("base"))
