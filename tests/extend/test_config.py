import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extend.config import RunSettings, Settings, dump_toml, expand, load_settings, parse_overrides
from extend.errors import PathError, UsageError


def _keys(kind: type[Settings], prefix: str = "") -> Iterator[str]:
    for name, info in kind.model_fields.items():
        yield prefix + name
        if isinstance(info.annotation, type) and issubclass(info.annotation, Settings):
            yield from _keys(info.annotation, f"{prefix}{name}.")


ALL_KEYS = [*_keys(RunSettings), "ner.data.si.train", "ner.data.si.dev", "ner.data.si.test"]


def _misspelt(key: str) -> str:
    """Two letters of the last part swapped, as fingers do."""
    *section, name = key.split(".")
    at = max(len(name) // 2 - 1, 0)
    typo = name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :]
    return ".".join([*section, typo if typo != name else name + "x"])


def _config(directory: Path, text: str) -> Path:
    path = directory / "run.toml"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("key", ALL_KEYS)
def test_every_misspelt_key_is_caught_and_the_right_one_offered(key: str) -> None:
    with pytest.raises(UsageError) as refusal:
        load_settings(None, {_misspelt(key): 1})
    error = refusal.value
    assert error.exit_code == 2
    assert error.name == "E-CONFIG-KEY"
    assert f"{_misspelt(key)}: unknown key" in error.what
    assert f"did you mean {key.split('.')[-1]}?" in error.what


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = _config(
        tmp_path,
        """
        lang = "ug"
        [vocab]
        sise = 10
        min_count = "two"
        [pretrain]
        leraning_rate = 1e-5
        mask_rate = 1.5
        steps = -1
        batch_size = true
        [ner.data.ug]
        tain = "x"
        """,
    )
    with pytest.raises(UsageError) as refusal:
        load_settings(path)
    error = refusal.value
    assert "7 bad settings" in error.what
    for key in (
        "vocab.sise",
        "vocab.min_count",
        "pretrain.mask_rate",
        "pretrain.steps",
        "pretrain.batch_size",
    ):
        assert key in error.why
    for offered in ("size", "learning_rate", "train"):
        assert f"did you mean {offered}?" in error.why
    assert str(path) in error.what


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pretrain.learning_rate", float("nan")),
        ("pretrain.learning_rate", float("inf")),
        ("pretrain.learning_rate", 0.0),
        ("pretrain.mask_rate", 0.0),
        ("pretrain.mask_rate", 1.0),
        ("pretrain.steps", 1.5),
        ("pretrain.steps", "2000"),
        ("pretrain.batch_size", 0),
        ("pretrain.length", 7),
        ("pretrain.replay_share", 1.0),
        ("pretrain.replay", {"en": "en.txt"}),
        ("pretrain.nsp", 1),
        ("pretrain.precision", "fp8"),
        ("scratch.architecture", "gpt2"),
        ("ner.seeds", 0),
        ("ner.dropout", 1.1),
        ("seed", -1),
        ("lang", False),
        ("corpus", "one.txt"),
        ("vocab", 3),
        ("vocab.size", 0),
        ("vocab.size", "many"),
        ("vocab.memory", "12"),
        ("vocab.score_mix", 0.0),
        ("vocab.max_drift", 1.5),
        ("reading.on_bad_file", "ignore"),
    ],
)
def test_bad_values_are_refused(key: str, value: Any) -> None:
    with pytest.raises(UsageError) as refusal:
        load_settings(None, {key: value})
    assert refusal.value.exit_code == 2
    assert refusal.value.name == "E-CONFIG"
    assert key in refusal.value.what


def test_norwegian_is_a_language_not_a_boolean(tmp_path: Path) -> None:
    assert load_settings(_config(tmp_path, 'lang = "no"')).lang == "no"


@pytest.mark.parametrize(
    "text",
    [
        'lang = "ug',
        "lang = ug",
        'lang = "ug"\nlang = "si"',
        "[vocab]\n[vocab]",
        "\x00",
        "vocab = {size = 1}\n[vocab]",
        "a." * 5000 + "b = 1",
        "corpus = " + "[" * 3000,
    ],
)
def test_what_is_not_toml_is_wrong_usage(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        load_settings(_config(tmp_path, text))


def test_a_binary_file_is_wrong_usage(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xff\xfe\x00lang")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_settings(path)


def test_a_huge_file_is_refused_without_parsing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        load_settings(_config(tmp_path, "# " + "x" * (1 << 20)))


def test_a_missing_file_and_a_folder_are_path_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(PathError) as refusal:
            load_settings(path)
        assert refusal.value.exit_code == 4
        assert str(path) in refusal.value.what


def test_a_file_wins_over_the_saved_settings_key_by_key(tmp_path: Path) -> None:
    saved = tmp_path / "saved.toml"
    saved.write_bytes(
        b'lang = "ug"\n[pretrain]\nsteps = 5\nlength = 64\n[pretrain.replay]\nen = ["a", "b"]\n'
    )
    path = _config(tmp_path, '[pretrain]\nsteps = 6\n[pretrain.replay]\nen = ["c"]')
    settings = load_settings(path, {"pretrain.nsp": True}, saved=saved)
    assert (settings.lang, settings.pretrain.steps, settings.pretrain.length) == ("ug", 6, 64)
    assert (settings.pretrain.replay, settings.pretrain.nsp) == ({"en": ["c"]}, True)


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = _config(tmp_path, 'lang = "ug"\n[pretrain]\nsteps = 5\nnsp = true')
    settings = load_settings(path, {"pretrain.steps": 7, "ner.data.si.train": "x"})
    assert (settings.pretrain.steps, settings.pretrain.nsp, settings.ner.data["si"].train) == (7, True, "x")


def test_an_override_below_a_value_is_refused() -> None:
    with pytest.raises(UsageError, match="lang is a value, not a section"):
        load_settings(None, {"lang": "ug", "lang.size": 1})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("pretrain.steps=2000", 2000),
        ("pretrain.learning_rate=1e-5", 1e-5),
        ("pretrain.nsp=true", True),
        ("lang=ug", "ug"),
        ("lang=no", "no"),
        ('lang="ug"', "ug"),
        ('corpus=["a.txt", "b.txt"]', ["a.txt", "b.txt"]),
        ("base=a=b", "a=b"),
        ("base=", ""),
        ("base=12:30", "12:30"),
        ("base=x\ny = 1", "x\ny = 1"),
    ],
)
def test_assignments_of_the_command_line(written: str, read: Any) -> None:
    assert parse_overrides([written]) == {written.partition("=")[0]: read}


@pytest.mark.parametrize("written", ["pretrain.steps", "=3", ""])
def test_what_is_no_assignment_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_overrides([written])


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
_files = st.fixed_dictionaries({}, optional={"train": _texts, "test": _texts})
_trees = st.fixed_dictionaries(
    {},
    optional={
        "lang": _texts,
        "base": _texts,
        "corpus": st.lists(_texts, max_size=3),
        "seed": st.integers(0, 2**60),
        "scratch": st.fixed_dictionaries(
            {}, optional={"languages": st.dictionaries(_names, st.lists(_texts, max_size=2), max_size=3)}
        ),
        "pretrain": st.fixed_dictionaries(
            {},
            optional={
                "learning_rate": st.floats(1e-300, 1e300),
                "replay": st.dictionaries(_names, st.lists(_texts, max_size=2), max_size=2),
                "nsp": st.booleans(),
            },
        ),
        "ner": st.fixed_dictionaries(
            {},
            optional={
                "data": st.dictionaries(_names, _files, max_size=2),
                "labels": st.lists(_texts, max_size=2),
            },
        ),
    },
)


@given(_trees)
@example({"scratch": {"languages": {"\U00010000": [], "\x7f": ["\x7f\U0001f600"]}}})
def test_what_is_saved_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]
) -> None:
    settings = RunSettings.model_validate(tree)
    path = _config(tmp_path_factory.mktemp("config"), dump_toml(settings))
    assert load_settings(path) == settings


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunSettings().vocab.size = 3  # type: ignore[misc]


def test_paths_expand_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTEND_TEST_DATA", "/data")
    assert expand("$EXTEND_TEST_DATA/text/*.txt") == "/data/text/*.txt"
    monkeypatch.delenv("EXTEND_TEST_DATA")
    with pytest.raises(UsageError, match="environment variable that is not set"):
        expand("${EXTEND_TEST_DATA}/text")


def test_reading_settings_loads_no_weights_library() -> None:
    heavy = "{'torch', 'transformers', 'tokenizers'}"
    program = f"import sys, extend.config; sys.exit(not {heavy}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_later_layer_replaces_the_files_of_a_language_whole(tmp_path: Path) -> None:
    saved, later = tmp_path / "run.toml", tmp_path / "later.toml"
    saved.write_text('[ner]\nseeds = 2\n[ner.data.ta]\ntrain = "a"\ntest = "b"\n[ner.data.en]\ntrain = "c"\n')
    later.write_text('[ner]\nepochs = 3\n[ner.data.ta]\ntest = "d"\n')
    ner = load_settings(later, saved=saved).ner
    assert (ner.seeds, ner.epochs) == (2, 3)
    assert (ner.data["ta"].train, ner.data["ta"].test, ner.data["en"].train) == (None, "d", "c")
