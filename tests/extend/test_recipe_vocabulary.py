"""The vocabulary stage: sizes, vetoes, protected text, bases of both kinds, what it warns of and refuses."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers

from extend import recipe
from extend.cli import main
from extend.config import load_settings
from extend.errors import CheckpointError, DataError, PathError
from extend.languages import resolve
from extend.recipe.vocabulary_inputs import read_veto
from extend.tokenizer import load_tokenizer
from tests.extend.cli_runs import make_inputs
from tests.models import tiny_checkpoint
from tests.unigram_models import write_trained

SMALL = {"vocab.size": 60, "vocab.held_out_lines": 40}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base/`, ka.txt in a new script, en.txt in the base's, sw.txt with words of neither, xlmr/."""
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder)
    draw = random.Random(4)
    words = ["".join(draw.choices("abcdefgh", k=draw.randint(2, 6))) for _ in range(150)]
    lines = [" ".join(draw.choices(words, weights=range(150, 0, -1), k=8)) for _ in range(400)]
    (folder / "sw.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def opened(
    inputs: Path, directory: Path, lang: str = "ka", *, text: Path | None = None, **overrides: Any
) -> recipe.Run:
    given = {
        **SMALL,
        "lang": lang,
        "base": str(inputs / "base"),
        "corpus": [str(text or inputs / f"{lang}.txt")],
        **{key.replace("__", "."): value for key, value in overrides.items()},
    }
    return recipe.open_run(load_settings(None, given), directory, resolve(lang))


def learned(run: recipe.Run) -> tuple[list[str], dict[str, Any]]:
    report = recipe.learn_vocabulary(run)
    return (run.vocabulary / "added.txt").read_text(encoding="utf-8").split("\n")[:-1], report


class TestVeto:
    def test_vetoed_pieces_are_never_taken_and_stay_on_the_sheet(self, inputs, tmp_path):
        before, _ = learned(opened(inputs, tmp_path / "before"))
        longest = sorted(before, key=len)[-3:]
        veto = tmp_path / "veto.txt"
        veto.write_text("# by a speaker\n\n" + "\n".join(longest) + "\r\n", encoding="utf-8-sig")
        run = opened(inputs, tmp_path / "after", vocab__veto=str(veto))
        after, report = learned(run)
        assert not set(longest) & set(after)
        assert len(after) == 60
        assert report["vetoed"] == 3
        assert all(
            json.dumps(piece, ensure_ascii=False) in (run.vocabulary / "review.html").read_text("utf-8")
            for piece in longest
        )

    def test_a_hash_is_a_piece_and_hash_blank_a_comment(self, tmp_path):
        path = tmp_path / "veto.txt"
        path.write_bytes(b"#\n##x\n# note\n\na b\n##x\n")
        assert read_veto(path) == ("#", "##x", "a b")

    @pytest.mark.parametrize(("data", "kind"), [(b"ok\n\xff\n", DataError), (b"a\0b", DataError)])
    def test_what_is_no_list_is_told(self, data, kind, tmp_path):
        path = tmp_path / "veto.txt"
        path.write_bytes(data)
        with pytest.raises(kind) as caught:
            read_veto(path)
        assert caught.value.exit_code == 3
        with pytest.raises(PathError):
            read_veto(tmp_path / "missing.txt")

    def test_another_veto_is_another_vocabulary_until_asked_for_again(self, inputs, tmp_path):
        run = opened(inputs, tmp_path / "run")
        first, _ = learned(run)
        veto = tmp_path / "veto.txt"
        veto.write_text(first[-1] + "\n", encoding="utf-8")
        other = opened(inputs, tmp_path / "run", vocab__veto=str(veto))
        with pytest.raises(CheckpointError, match="other settings") as caught:
            recipe.learn_vocabulary(other)
        assert caught.value.name == "E-RUN-MISMATCH"
        assert recipe.learn_vocabulary(other, again=True)["vetoed"] == 1
        assert recipe.learn_vocabulary(other)["vetoed"] == 1
        recipe.grow(other)
        with pytest.raises(CheckpointError, match="in use: grow"):
            recipe.learn_vocabulary(other, again=True)


class TestProtection:
    @pytest.mark.parametrize("bound", [0.0, 0.02])
    def test_words_of_the_text_are_cut_as_before_within_the_bound(self, bound, inputs, tmp_path):
        free = recipe.learn_vocabulary(opened(inputs, tmp_path / "free", "sw"))
        run = opened(
            inputs,
            tmp_path / "run",
            "sw",
            vocab__protect=[str(inputs / "en.txt")],
            vocab__max_drift=bound,
        )
        added, report = learned(run)
        assert "protected" not in free
        (file,) = report["protected"]["files"]
        assert file["words"] == 400 * 8
        assert file["words_changed"] <= bound
        assert report["held_out"]["extended"]["fertility"] < report["held_out"]["base"]["fertility"]
        before, after = (
            load_tokenizer(folder).model for folder in (inputs / "base", run.vocabulary / "tokenizer")
        )
        words = (inputs / "en.txt").read_text("utf-8").split()
        cut = sum(
            [token.value for token in before.tokenize(word)]
            != [token.value for token in after.tokenize(word)]
            for word in words
        )
        assert cut / len(words) == pytest.approx(file["words_changed"])
        assert len(added) > 20

    def test_the_base_keeps_other_words_only_when_asked(self, inputs, tmp_path):
        report = recipe.learn_vocabulary(opened(inputs, tmp_path / "run", "sw"))
        assert report["drift"].keys() >= {"sample", "words_changed", "words_newly_unk"}


class TestSize:
    def test_auto_takes_the_knee_and_gives_the_bytes_of_that_size(self, inputs, tmp_path, monkeypatch):
        monkeypatch.setattr("extend.recipe.choosing.SIZES", (20, 30, 50, 80, 120, 200))
        run = opened(inputs, tmp_path / "auto", vocab__size="auto")
        pieces, report = learned(run)
        assert report["size"]["asked"] == "auto"
        assert report["size"]["chosen"] == len(pieces) == report["added"]
        assert report["added"] in [point["size"] for point in report["sizes"]]
        config = json.loads((inputs / "base" / "config.json").read_text())
        first = report["sizes"][0]
        assert first["added_parameters"] == first["size"] * (config["hidden_size"] + 1)
        assert first["added_bytes"] == 4 * first["added_parameters"]
        fertilities = [point["fertility"] for point in report["sizes"]]
        assert fertilities == sorted(fertilities, reverse=True)
        assert learned(opened(inputs, tmp_path / "given", vocab__size=len(pieces)))[0] == pieces

    def test_memory_and_processes_change_nothing_that_was_made(self, inputs, tmp_path):
        first = recipe.learn_vocabulary(opened(inputs, tmp_path / "run"))
        again = opened(inputs, tmp_path / "run", vocab__memory="2GB", vocab__processes=1)
        assert recipe.learn_vocabulary(again) == first

    def test_a_corpus_that_gives_fewer_pieces_says_so(self, inputs, tmp_path):
        report = recipe.learn_vocabulary(opened(inputs, tmp_path / "run", vocab__size=30_000))
        assert [warning["name"] for warning in report["warnings"]] == ["W-SMALL-VOCAB"]
        assert f"{report['added']:,} pieces of the 30,000" in report["warnings"][0]["text"]


def test_more_unknown_words_than_allowed_publish_nothing(inputs, tmp_path):
    corpus = tmp_path / "ka.txt"
    rare = "".join(f"აბ{chr(0x10E0 + index % 20)}{chr(0x13A0 + index)}\n" for index in range(80))
    corpus.write_text(rare, encoding="utf-8")
    run = opened(inputs, tmp_path / "run", text=corpus, vocab__max_unk=0.1)
    with pytest.raises(DataError, match="would stay unknown") as caught:
        recipe.learn_vocabulary(run)
    assert (caught.value.name, caught.value.exit_code) == ("E-UNK", 3)
    assert not run.vocabulary.exists()


def test_a_base_that_loses_characters_is_told(inputs, tmp_path):
    base = tiny_checkpoint(tmp_path / "lower")
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.save(str(base / "tokenizer.json"))
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(
        json.dumps({**config, "do_lower_case": True, "strip_accents": True})
    )
    corpus = tmp_path / "yo.txt"
    text = (inputs / "en.txt").read_text("utf-8").replace("a", "ọ\u0300").replace("b", "B")
    corpus.write_text(text, encoding="utf-8")
    report = recipe.learn_vocabulary(opened(inputs, tmp_path / "run", "yo", text=corpus, base=str(base)))
    (warning,) = [warning for warning in report["warnings"] if warning["name"] == "W-LOSSY"]
    assert "U+0300 combining grave accent" in warning["text"]
    assert "U+0042 latin capital letter b" in warning["text"]
    assert report["lost_characters"]["share"] > 0.2


class TestUnigram:
    @pytest.fixture(scope="class")
    def xlmr(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = write_trained(tmp_path_factory.mktemp("xlmr"))
        (folder / "config.json").write_text('{"model_type": "xlm-roberta", "hidden_size": 8}')
        return folder

    def test_a_base_with_scores_is_extended_and_certified(self, xlmr, inputs, tmp_path):
        run = opened(inputs, tmp_path / "run", base=str(xlmr))
        pieces, report = learned(run)
        state = json.loads((run.vocabulary / "tokenizer" / "tokenizer.json").read_text("utf-8"))
        base = json.loads(load_tokenizer(xlmr).to_str())["model"]["vocab"]
        assert state["model"]["vocab"][: len(base)] == base
        assert [piece for piece, _ in state["model"]["vocab"][len(base) :]] == pieces
        lowest = min(score for _, score in base)
        assert all(lowest <= score < 0 for _, score in state["model"]["vocab"][len(base) :])
        assert report["held_out"]["extended"]["unk_rate"] == 0.0 < report["held_out"]["base"]["unk_rate"]
        assert report["score_mix"] in [point["share"] for point in report["frontier"]]
        assert "special ids" in report["certificate"]["held"]
        assert not (run.vocabulary / "tokenizer" / "vocab.txt").exists()

    def test_protected_words_keep_their_best_segmentation(self, xlmr, inputs, tmp_path):
        run = opened(
            inputs,
            tmp_path / "run",
            "sw",
            base=str(xlmr),
            vocab__protect=[str(inputs / "en.txt")],
            vocab__max_drift=0.01,
        )
        report = recipe.learn_vocabulary(run)
        assert report["protected"]["files"][0]["words_changed"] <= 0.01


@pytest.mark.parametrize("setting", [{"vocab__veto": "none.txt"}, {"vocab__protect": ["none.txt"]}])
def test_a_dry_run_finds_what_is_missing(setting, inputs, tmp_path):
    run = opened(inputs, tmp_path / "run", **setting)
    for stage in ("vocab", "grow"):
        with pytest.raises(PathError):
            recipe.check(run, stage)
    assert not run.directory.exists()
    assert recipe.check(opened(inputs, tmp_path / "run"), "vocab")["protect"] == []


class TestCommand:
    def test_check_tells_a_sound_folder_from_a_damaged_one(self, inputs, tmp_path, capsys):
        run = opened(inputs, tmp_path / "run")
        recipe.learn_vocabulary(run)
        assert main(["vocab", "--check", str(run.directory)]) == 0
        assert "held" in capsys.readouterr().out
        listed = run.vocabulary / "tokenizer" / "vocab.txt"
        lines = listed.read_text("utf-8").split("\n")
        listed.write_text("\n".join([*lines[:-3], lines[-2], lines[-3], ""]), encoding="utf-8")
        assert main(["vocab", "--check", str(run.directory), "--format", "json"]) == 8
        printed = json.loads(capsys.readouterr().out)
        failed = [one["name"] for one in printed["assertions"] if one["holds"] is False]
        assert "vocab.txt" in failed
        assert printed["error"]["name"] == "E-CERTIFICATE"

    def test_check_takes_no_run(self, inputs, tmp_path, capsys):
        assert main(["vocab", "--check", str(tmp_path), "--lang", "ka"]) == 2
        assert "--check" in capsys.readouterr().err

    def test_warnings_are_told_on_stderr(self, inputs, tmp_path, capsys):
        (tmp_path / "bad.txt").write_bytes((inputs / "ka.txt").read_bytes() + b"\xc9 lone\n")
        arguments = ["--base", str(inputs / "base"), "--corpus", str(tmp_path / "bad.txt"), "--size", "auto"]
        code = main(["vocab", "--lang", "ka", "--run", str(tmp_path / "run"), *arguments, "--format", "json"])
        captured = capsys.readouterr()
        assert code == 0
        assert "extend vocab: warning[W-UTF8]: bad.txt: 1 places are not UTF-8" in captured.err
        assert json.loads(captured.out)["corpus"]["repairs"] == {"invalid_utf8": 1}

    def test_one_file_by_two_names_is_told(self, inputs, tmp_path, capsys):
        (tmp_path / "ka.txt").write_bytes((inputs / "ka.txt").read_bytes())
        (tmp_path / "other.txt").symlink_to(tmp_path / "ka.txt")
        arguments = ["--base", str(inputs / "base"), "--corpus", str(tmp_path), "--size", "60"]
        assert main(["vocab", "--lang", "ka", "--run", str(tmp_path / "run"), *arguments]) == 0
        assert "warning[W-DUP]" in capsys.readouterr().err

    def test_strict_refuses_them(self, inputs, tmp_path, capsys):
        (tmp_path / "bad.txt").write_bytes((inputs / "ka.txt").read_bytes() + b"\xc9 lone\n")
        arguments = ["--base", str(inputs / "base"), "--corpus", str(tmp_path / "bad.txt"), "--strict"]
        assert main(["vocab", "--lang", "ka", "--run", str(tmp_path / "run"), *arguments]) == 3
        assert "E-UTF8" in capsys.readouterr().err
