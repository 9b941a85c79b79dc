"""`extend ner-tag`: text in, entities out, on the streams and files that people use it with."""

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from rich.console import Console
from transformers import AutoModelForTokenClassification

from extend.cli import environment, tagging
from extend.cli.tagging import ISOLATE, POP, _shown
from ner.features import FeatureSettings
from ner.saving import save_tagger
from ner.tagging import Entity
from tests.ner.taggers import made_head, made_tagger
from tests.ner.tiny import made_sentences, tiny_encoder

TEXT = "\n".join(" ".join(word for word, _ in rows) for rows in made_sentences(40, seed=8)) + "\n"
Extend = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, a tagger that holds it, one in a run that refers to it, and some text."""
    folder = tmp_path_factory.mktemp("world")
    encoder = tiny_encoder(folder / "encoder")
    made_tagger(folder / "tagger", encoder)
    made_tagger(folder / "linear", encoder, head=made_head("linear"))
    shutil.copytree(encoder, folder / "runs/ka/model")
    made_tagger(folder / "runs/ka/ner/zero-shot/heads/extended", encoder, inside=False)
    (folder / "news.txt").write_text(TEXT, encoding="utf-8")
    rows = ("".join(f"{word} {tag}\n" for word, tag in rows) for rows in made_sentences(40, seed=8))
    (folder / "news.conll").write_text("\n".join(rows), encoding="utf-8")
    return folder


@pytest.fixture
def extend(world: Path, monkeypatch: pytest.MonkeyPatch) -> Extend:
    """Runs the command in the folder: exit code, stdout, stderr."""
    app = typer.Typer()
    tagging.register(app)
    environment.register(app)  # a second command, so that the first is asked for by name

    def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with contextlib.chdir(world), monkeypatch.context() as patched:
            patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
            patched.setattr(sys, "stdout", out)
            patched.setattr(sys, "stderr", err)
            code = int(app(["ner-tag", *arguments], standalone_mode=False) or 0)
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read()

    return run


def test_stdin_to_stdout(extend: Extend) -> None:
    code, out, err = extend("tagger", "-", "--to", "jsonl", stdin=TEXT.encode())
    assert code == 0
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["text"] for record in records] == TEXT.splitlines()
    entities = [one for record in records for one in record["entities"]]
    assert {one["type"] for one in entities} == {"LOC", "PER"}
    assert f"40 lines, {len(TEXT.split()):,} words, {len(entities)} entities" in err
    assert extend("tagger", "--to", "jsonl", stdin=TEXT.encode())[1] == out


def test_a_file_is_written_whole_and_told(world: Path, extend: Extend) -> None:
    code, out, _ = extend("tagger", "news.txt", "--output", "found.jsonl", "--format", "json")
    told = json.loads(out)
    assert code == 0
    assert (told["output"], told["lines"], told["labels"]) == ("found.jsonl", 40, ["LOC", "PER"])
    written = (world / "found.jsonl").read_bytes()
    assert told["bytes"] == len(written)
    assert written.decode() == extend("tagger", "news.txt", "--to", "jsonl")[1]
    assert sum(len(json.loads(line)["entities"]) for line in written.splitlines()) == told["entities"] > 0


def test_one_object_holds_every_line(extend: Extend) -> None:
    code, out, _ = extend("tagger", "news.txt", "--format", "json")
    told = json.loads(out)
    lines = extend("tagger", "news.txt", "--to", "jsonl")[1].splitlines()
    assert code == 0
    assert told["records"] == [json.loads(line) for line in lines]
    assert told["about"] == {"trained_on": "ka", "seed": 1}


def test_columns_keep_their_lines(world: Path, extend: Extend) -> None:
    code, out, _ = extend("tagger", "news.conll", "--output", "found.conll", "--format", "json")
    assert code == 0
    given = (world / "news.conll").read_text(encoding="utf-8").split("\n")
    found = (world / "found.conll").read_text(encoding="utf-8").split("\n")
    assert [line.rpartition(" ")[0] for line in found] == given
    assert json.loads(out)["words"] == len(TEXT.split())
    assert extend("tagger", "news.conll", "--to", "conll")[1].split("\n") == found


def test_the_table_isolates_and_escapes_what_it_shows() -> None:
    entities = [Entity(0, 4, "PER", "ئادا", 0.5), Entity(5, 9, "LOC", "a\u202e\x1b[31m", 1.0)]
    result = {
        "labels": ["LOC", "PER"],
        "rows": [(3, one) for one in entities],
        "entities": 1200,
        "input": "text",
    }
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, color_system="standard")
    for part in _shown(result):
        console.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)
    shown = stream.getvalue()
    assert f"{ISOLATE}ئادا{POP}" in shown
    assert f"{ISOLATE}a\\u202e\\x1b[31m{POP}" in shown
    assert "\u202e" not in shown
    assert "\x1b[35m" in shown
    assert "the first 2 of 1,200 entities" in shown


def test_text_output_is_a_table(extend: Extend) -> None:
    code, out, _ = extend("tagger", "news.txt")
    assert code == 0
    assert "confidence" in out
    assert "lines: 40" in out
    assert "\x1b" not in out
    assert "sentence" not in out
    assert "sentence" in extend("tagger", "news.conll")[1]


def test_a_tagger_in_a_run_finds_its_encoder(extend: Extend) -> None:
    one = "runs/ka/ner/zero-shot/heads/extended"
    code, out, err = extend(one, "news.txt", "--to", "jsonl")
    assert code == 0, err
    assert out == extend("tagger", "news.txt", "--to", "jsonl")[1]
    assert extend(one, "news.txt", "--to", "jsonl", "--encoder", "encoder")[1] == out


def test_a_tagger_of_the_base_finds_it_by_the_run_s_settings(world: Path, extend: Extend) -> None:
    base = tiny_encoder(world / "base", extra=("zz",))
    one = made_tagger(world / "runs/ka/ner/zero-shot/heads/base", base, inside=False)
    assert extend(str(one), "news.txt")[0] == 8
    (world / "runs/ka/run.toml").write_text('lang = "ka"\nbase = "base"\n', encoding="utf-8")
    code, out, err = extend(str(one), "news.txt", "--dry-run", "--format", "json")
    assert code == 0, err
    assert json.loads(out)["encoder"] == "base"
    (world / "runs/ka/run.toml").unlink()


def test_a_tagger_without_its_encoder_is_told(world: Path, extend: Extend, tmp_path: Path) -> None:
    shutil.copytree(world / "runs/ka/ner/zero-shot/heads/extended", tmp_path / "alone")
    code, _, err = extend(str(tmp_path / "alone"), "news.txt")
    assert code == 8
    assert "error[E-TAGGER-ENCODER]" in err
    other = tiny_encoder(tmp_path / "other", extra=("zz",))
    code, _, err = extend(str(tmp_path / "alone"), "news.txt", "--encoder", str(other))
    assert code == 8
    assert "other weights and tokenizer" in err


def test_a_packed_tagger_needs_nothing_else(extend: Extend, tmp_path: Path) -> None:
    code, out, err = extend(
        "runs/ka/ner/zero-shot/heads/extended", "--pack", str(tmp_path / "whole"), "--format", "json"
    )
    assert code == 0, err
    assert json.loads(out)["packed"] == str(tmp_path / "whole")
    found = extend(str(tmp_path / "whole"), "news.txt", "--to", "jsonl")[1]
    assert found == extend("tagger", "news.txt", "--to", "jsonl")[1]
    code, _, err = extend("tagger", "--pack", str(tmp_path / "whole"))
    assert code == 2
    assert "is there already" in err


def test_a_linear_tagger_goes_to_transformers(extend: Extend, tmp_path: Path) -> None:
    target = tmp_path / "exported"
    code, out, err = extend("linear", "--as-transformers", str(target), "--format", "json")
    assert code == 0, err
    assert json.loads(out)["architecture"] == "BertForTokenClassification"
    model = AutoModelForTokenClassification.from_pretrained(target)
    assert model.config.id2label[0] == "O"
    assert (target / "tokenizer.json").is_file()
    code, _, err = extend("tagger", "--as-transformers", str(tmp_path / "no"))
    assert code == 2
    assert "error[E-TAGGER-EXPORT]" in err
    assert "no bilstm-crf head" in err
    assert not (tmp_path / "no").exists()


def test_bytes_that_are_no_text_are_told(extend: Extend) -> None:
    code, out, err = extend("tagger", "--to", "jsonl", stdin=b"ok\nb\xff\n")
    assert code == 0
    assert json.loads(out.splitlines()[1])["text"] == "b\ufffd"
    assert "warning[W-UTF8]: 1 lines are not UTF-8" in err
    assert "stdin:2:2" in err
    assert json.loads(extend("tagger", "--format", "json", stdin=b"\xff")[1])["warnings"]


def test_what_a_tagger_tells_of_itself_is_escaped(extend: Extend, world: Path, tmp_path: Path) -> None:
    save_tagger(
        tmp_path / "loud",
        made_head(),
        features=FeatureSettings(),
        encoder=world / "encoder",
        inside=True,
        about={"note": "\x1b]0;title\x07\u202e", "deep": {"a": "\x1b[31m"}},
    )
    for form in ("text", "json"):
        code, out, _ = extend(str(tmp_path / "loud"), "news.txt", "--dry-run", "--format", form)
        assert code == 0
        assert "x1b]0;title" in out
        assert not {"\x1b", "\x07", "\u202e"} & set(out)


def test_a_dry_run_reads_the_tagger_and_writes_nothing(world: Path, extend: Extend) -> None:
    before = sorted(world.rglob("*"))
    code, out, _ = extend(
        "tagger", "news.txt", "--output", "no.jsonl", "--dry-run", "--format", "json", stdin=b"x"
    )
    assert code == 0
    assert json.loads(out)["input"] == "text"
    assert sorted(world.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("nothing", "news.txt"), 4, "no tagger"),
        (("encoder", "news.txt"), 8, "no manifest"),
        (("tagger", "missing.txt"), 4, "missing.txt"),
        (("tagger", "news.txt", "news.conll"), 2, "several forms"),
        (("tagger", "news.txt", "--to", "jsonl", "--format", "json"), 2, "both want stdout"),
        (("tagger", "news.txt", "--pack", "x"), 2, "tag nothing"),
        (("tagger", "--pack", "encoder", "--dry-run"), 2, "is there already"),
        (("tagger", "news.txt", "--input", "jsonl"), 3, "news.txt:1: not a record"),
        (("tagger", "news.txt", "--input", "jsonl", "--output", "never.jsonl"), 3, "news.txt:1"),
    ],
)
def test_what_is_wrong_is_told(
    world: Path, extend: Extend, arguments: tuple[str, ...], code: int, told: str
) -> None:
    found, _, err = extend(*arguments)
    assert found == code
    assert told in err
    assert "Traceback" not in err
    assert not (world / "never.jsonl").exists()


def test_code_that_comes_with_an_encoder_is_never_run(extend: Extend, world: Path, tmp_path: Path) -> None:
    encoder = Path(shutil.copytree(world / "encoder", tmp_path / "encoder"))
    config = json.loads((encoder / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoModel": "evil.Model"}
    (encoder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    made_tagger(tmp_path / "evil", encoder)
    code, _, err = extend(str(tmp_path / "evil"), "news.txt")
    assert code == 11
    assert "error[E-REMOTE-CODE]" in err


def test_a_reader_that_goes_away_ends_it_quietly(
    world: Path, extend: Extend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(work: object, form: str) -> object:
        raise BrokenPipeError
        yield b""

    monkeypatch.setattr("extend.recipe.tagging.written", gone)
    monkeypatch.setattr("extend.cli.command.close_quietly", lambda: 141)
    code, out, err = extend("tagger", "news.txt", "--to", "jsonl")
    assert (code, out) == (141, "")
    assert "Traceback" not in err
