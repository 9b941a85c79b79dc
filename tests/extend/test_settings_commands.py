"""`extend init` and `extend config`: what they write and show is what a run reads."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend.cli import main
from extend.config import RunSettings, dump_toml, load_settings
from extend.languages import catalogue, resolve
from extend.presets import preset
from extend.recipe.explaining import explain_settings, key_lines, settings_schema
from extend.recipe.starting import starting_configuration
from extend.recipe.starting_text import wrapped
from tests.extend.cli_runs import make_inputs


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    code = main([*arguments, "--format", "json"])
    shown = json.loads(capsys.readouterr().out)
    assert (code == 0) == ("error" not in shown)
    return shown  # type: ignore[no-any-return]


def test_init_writes_a_commented_file_that_loads(capsys: pytest.CaptureFixture[str]) -> None:
    shown = _json(capsys, "init", "uig_Arab")
    text = Path("ug.toml").read_text(encoding="utf-8")
    settings = load_settings(Path("ug.toml"))
    assert (shown["file"], shown["written"], shown["text"]) == ("ug.toml", True, text)
    assert (settings.lang, settings.corpus) == ("ug", ["hf:wikimedia/wikipedia:20231101.ug"])
    assert settings.ner.data["ug"].test == "hf:unimelb-nlp/wikiann:ug:test"
    assert shown["language"]["codes"]["flores-200"] == ["uig_Arab"]
    assert [one["name"] for one in shown["warnings"]] == ["W-LANGUAGE-SCRIPTS"]
    assert text.startswith("# extend run ug.toml\n")
    assert "did not read Uyghur" in text


def test_init_sets_nothing_but_the_defaults_unless_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    _json(capsys, "init", "ug")
    written, default = load_settings(Path("ug.toml")), RunSettings()
    for section in ("vocab", "grow", "pretrain", "reading", "scratch"):
        assert getattr(written, section) == getattr(default, section)
    changed = {"labels", "data"}
    assert written.ner.model_dump(exclude=changed) == default.ner.model_dump(exclude=changed)


def test_init_takes_base_text_and_preset(capsys: pytest.CaptureFixture[str]) -> None:
    options = (
        "--base",
        "FacebookAI/xlm-roberta-base",
        "--corpus",
        'a"b.txt',
        "--corpus",
        "c",
        "--preset",
        "paper",
    )
    _json(capsys, "init", "Uyghur", "--out", "my configs/x.toml", *options)
    settings = load_settings(Path("my configs/x.toml"))
    assert (settings.base, settings.corpus) == ("FacebookAI/xlm-roberta-base", ['a"b.txt', "c"])
    assert settings.pretrain.nsp is preset("paper")["pretrain.nsp"]
    text = Path("my configs/x.toml").read_text(encoding="utf-8")
    assert text.startswith("# extend run 'my configs/x.toml'\n")
    assert "# read Uyghur in pretraining" in text


def test_init_leaves_a_file_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    Path("ug.toml").write_text("mine", encoding="utf-8")
    for more in ((), ("--dry-run",)):
        error = _json(capsys, "init", "ug", *more)["error"]
        assert (error["name"], error["exit_code"]) == ("E-FILE-EXISTS", 4)
        assert "ug.toml" in error["what"]
        assert "--out" in error["next"]
    assert Path("ug.toml").read_text(encoding="utf-8") == "mine"


def test_a_dry_run_shows_the_file_and_writes_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["init", "si", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert tomllib.loads(shown)["lang"] == "si"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(("Klingonish",), "E-LANGUAGE"), (("ug", "--preset", "papper"), "E-PRESET")],
)
def test_what_is_not_known_is_refused(
    arguments: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    error = _json(capsys, "init", *arguments)["error"]
    assert (error["name"], error["exit_code"]) == (name, 2)
    assert list(tmp_path.iterdir()) == []


@given(st.sampled_from([*catalogue("wikipedia").languages.values(), resolve("qaa"), resolve("ug-Latn")]))
def test_a_configuration_of_any_language_loads_and_is_for_it(language: Any) -> None:
    text = starting_configuration(language, path="x.toml")
    settings = RunSettings.model_validate(tomllib.loads(text))
    assert resolve(settings.lang) == language
    assert settings.corpus
    assert all(len(line) <= 110 for line in text.splitlines() if line.startswith("#") and " has " in line)
    assert starting_configuration(language, path="x.toml") == text


@given(st.text(alphabet="ab\n\u202e\"'# \\", max_size=12), st.text(max_size=12))
def test_no_path_or_text_leaves_its_comment_or_string(path: str, source: str) -> None:
    made = starting_configuration(resolve("ug"), path=path, corpus=[source])
    tree = tomllib.loads(made)
    assert (tree["lang"], tree["corpus"]) == ("ug", [source])
    assert "\u202e" not in made.partition("\n")[0]


def test_a_run_takes_the_file_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    make_inputs(Path())
    _json(capsys, "init", "ka", "--base", "base", "--corpus", "ka.txt")
    plan = _json(capsys, "run", "ka.toml", "--dry-run")
    assert (plan["language"], list(plan["corpus"])) == ("ka", ["ka.txt"])
    assert plan["ner"]["ka"]["train"] == "hf:unimelb-nlp/wikiann:ka:train"


def test_config_tells_where_every_value_is_from(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.toml").write_text(
        'lang = "ug"\n\n[pretrain]\n# fewer\nsteps = 10\n\n[ner.data.en]\ntrain = "a"\n', encoding="utf-8"
    )
    shown = _json(capsys, "config", "x.toml", "--set", "pretrain.length=64")["settings"]
    assert shown["lang"] == {"value": "ug", "source": "x.toml:1", "meaning": "language code, name or autonym"}
    assert (shown["pretrain.steps"]["value"], shown["pretrain.steps"]["source"]) == (10, "x.toml:5")
    assert (shown["pretrain.length"]["value"], shown["pretrain.length"]["source"]) == (64, "--set")
    assert shown["pretrain.nsp"]["source"] == shown["ner.data.en.dev"]["source"] == "default"
    assert shown["ner.data.en.train"]["source"] == "x.toml:8"
    assert shown["ner.data.en.format"]["meaning"].startswith("jsonl")
    assert main(["config", "x.toml"]) == 0
    assert "x.toml:5" in capsys.readouterr().out


def test_config_without_a_file_shows_the_defaults() -> None:
    explained = {one.key: one for one in explain_settings(None)}
    assert {one.source for one in explained.values()} == {"default"}
    assert explained["vocab.size"].value == RunSettings().vocab.size
    assert "EXTEND" in explained["vocab.size"].meaning


def test_a_set_table_wins_over_the_lines_of_the_file() -> None:
    Path("x.toml").write_text('[pretrain.replay]\nen = ["a"]\n', encoding="utf-8")
    (replayed,) = (one for one in explain_settings(Path("x.toml")) if one.key.startswith("pretrain.replay."))
    assert (replayed.value, replayed.source) == (["a"], "x.toml:2")
    given_too = explain_settings(Path("x.toml"), ['pretrain.replay={ru=["b"]}'])
    assert {one.key: one.source for one in given_too}["pretrain.replay.ru"] == "--set"


def test_keys_behind_a_very_long_list_have_their_file_for_a_source() -> None:
    rows = "".join(f'  "{number}.txt",\n' for number in range(300))
    Path("x.toml").write_text(f"seed = 2\ncorpus = [\n{rows}]\nlang = 'ug'\n", encoding="utf-8")
    sources = {one.key: one.source for one in explain_settings(Path("x.toml"))}
    assert (sources["seed"], sources["corpus"], sources["lang"]) == ("x.toml:1", "x.toml", "x.toml")


def test_a_bad_setting_is_refused_as_a_run_refuses_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.toml").write_text("[pretrain]\nstep = 10\n", encoding="utf-8")
    error = _json(capsys, "config", "x.toml")["error"]
    assert (error["name"], error["exit_code"]) == ("E-CONFIG-KEY", 2)
    assert "did you mean steps" in error["what"]


def test_the_schema_is_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    schema = _json(capsys, "config", "--schema")
    assert schema == settings_schema()
    assert set(schema["properties"]) == set(RunSettings.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["VocabSettings"]["properties"]["size"]["description"]
    assert main(["config", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a = 1\nb = 2", {"a": 1, "b": 2}),
        ("\n[t]\n\nc = [\n 1,\n 2,\n]\nd = 1\n", {"t": 2, "t.c": 4, "t.d": 8}),
        ('a = """\nb = 1\n"""\nc.d = 1\n', {"a": 1, "c.d": 4}),
        ('["q.r".s]\n"t u" = 1', {"q.r.s": 1, "q.r.s.t u": 2}),
        ("a = {b = 1, c = {d = 2}}", {"a.b": 1, "a.c.d": 1}),
        ("# a = 1\n", {}),
    ],
)
def test_keys_are_found_on_their_lines(text: str, lines: dict[str, int]) -> None:
    assert key_lines(text) == lines


@given(
    st.integers(0, 9), st.lists(st.text(max_size=8), max_size=3), st.dictionaries(st.text(), st.just(["f"]))
)
def test_every_written_setting_has_a_line_that_names_it(steps: int, corpus: list[str], replay: Any) -> None:
    """Against the writer of run.toml, whose output has one assignment a line."""
    settings = RunSettings.model_validate({"corpus": corpus, "pretrain": {"steps": steps, "replay": replay}})
    text = dump_toml(settings)
    found = key_lines(text)
    written = text.split("\n")
    for key in ("corpus", "pretrain.steps", "vocab.size"):
        assert written[found[key] - 1].startswith(f"{key.rpartition('.')[2]} = ")
    for language in replay:
        assert written[found[f"pretrain.replay.{language}"] - 1].endswith('= ["f"]')


def test_comments_are_broken_between_words() -> None:
    lines = wrapped("word " * 60)
    assert all(line.startswith("# word") and len(line) <= 110 for line in lines)
    assert sum(line.count("word") for line in lines) == 60
