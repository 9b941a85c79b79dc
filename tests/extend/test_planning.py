"""`extend plan` end to end on a tiny base, and that its figures are those of the real stages."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from safetensors import safe_open

from extend import recipe
from extend.cli import main
from extend.config import load_settings
from extend.errors import CheckpointError, UsageError
from extend.languages import resolve
from extend.recipe import planning
from extend.recipe.planning import Wanted, check_plan, plan
from tests.extend.cli_runs import make_inputs
from tests.unigram_models import write_trained

QUIET = Wanted(probe=False)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder)
    return folder


def opened(inputs: Path, directory: Path, **given: Any) -> recipe.Run:
    settings = {
        "lang": "ka",
        "base": str(inputs / "base"),
        "corpus": [str(inputs / "ka.txt")],
        "vocab.size": 60,
        "vocab.held_out_lines": 40,
        **{key.replace("__", "."): value for key, value in given.items()},
    }
    return recipe.open_run(load_settings(None, settings), directory, resolve(str(settings["lang"])))


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "seconds"}


class TestPlan:
    def test_figures_are_those_of_the_vocabulary_stage(self, inputs, tmp_path):
        run = opened(inputs, tmp_path / "run")
        planned, learned = plan(run, QUIET), recipe.learn_vocabulary(run)
        for encoder in ("base", "extended"):
            assert planned["held_out"][encoder] == learned["held_out"][encoder]
        assert planned["added"] == learned["added"]
        assert planned["corpus"]["lines"] == learned["corpus"]["lines"]

    def test_parameters_are_those_of_the_base(self, inputs, tmp_path):
        with safe_open(inputs / "base" / "model.safetensors", "pt") as file:
            base = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118
        costs = plan(opened(inputs, tmp_path / "run"), QUIET)["costs"]
        assert costs["parameters"] == {"base": base, "added": 60 * 33, "total": base + 60 * 33}
        assert costs["added_bytes"] == {"fp32": 60 * 33 * 4, "fp16": 60 * 33 * 2}

    def test_a_new_script_is_likely_to_need_pieces(self, inputs, tmp_path):
        many = tmp_path / "many.txt"
        lines = (inputs / "ka.txt").read_text("utf-8").splitlines()
        many.write_text("\n".join(f"{line} {other}" for line in lines for other in lines[:5]), "utf-8")
        result = plan(opened(inputs, tmp_path / "run", corpus=[str(many)]), QUIET)
        assert result["verdict"]["name"] == "likely"
        assert result["held_out"]["base"]["unk_rate"] == 1.0
        assert (result["lacking"]["characters"], result["lacking"]["words"]) == (8, 1.0)
        assert result["lacking"]["most"][0]["name"].startswith("U+10D")
        assert result["identified"]["label"] == "ka"
        assert result["corpus"]["scripts"] == {"Geor": 1.0}

    def test_the_same_text_in_other_files_and_order_is_the_same_plan(self, inputs, tmp_path):
        lines = (inputs / "ka.txt").read_text("utf-8").splitlines()
        (tmp_path / "b.txt").write_text("\n".join(reversed(lines[:150])), "utf-8")
        (tmp_path / "a.txt").write_text("\n".join(lines[150:]), "utf-8")
        one = plan(opened(inputs, tmp_path / "x"), Wanted(5000, probe=False))
        other = plan(opened(inputs, tmp_path / "x", corpus=[str(tmp_path)]), Wanted(5000, probe=False))
        one["corpus"].pop("sources")
        other["corpus"].pop("sources")
        assert without_times(one) == without_times(other)
        assert one["corpus"]["sample"]["whole"] is False
        assert one["corpus"]["sample"]["bytes"] <= 5000
        whole = plan(opened(inputs, tmp_path / "x"), QUIET)["corpus"]
        assert one["corpus"]["words"] == pytest.approx(whole["words"], rel=0.1)
        assert (one["corpus"]["lines"], one["corpus"]["bytes"]) == (whole["lines"], whole["bytes"])

    def test_nothing_is_written_but_what_is_asked_for(self, inputs, tmp_path):
        out = tmp_path / "plan.json"
        result = plan(opened(inputs, tmp_path / "run"), QUIET, out=out)
        assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
        assert json.loads(out.read_text("utf-8")) == json.loads(json.dumps(result))

    def test_auto_gives_the_curve(self, inputs, tmp_path, monkeypatch):
        monkeypatch.setattr("extend.recipe.choosing.SIZES", (20, 40, 80))
        result = plan(opened(inputs, tmp_path / "run", vocab__size="auto"), QUIET)
        assert [one["size"] for one in result["sizes"]] == [20, 40, 80]
        assert result["size"]["asked"] == "auto"
        assert result["added"] == result["size"]["chosen"]

    def test_a_unigram_base_is_planned_too(self, inputs, tmp_path):
        base = write_trained(tmp_path / "xlmr")
        config = {
            "model_type": "xlm-roberta",
            "architectures": ["XLMRobertaForMaskedLM"],
            "vocab_size": 301,
            "hidden_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 16,
        }
        (base / "config.json").write_text(json.dumps(config))
        result = plan(opened(inputs, tmp_path / "run", base=str(base)), QUIET)
        assert result["base"]["tokenizer"] == "Unigram"
        assert result["lacking"]["characters"] == 8
        assert result["held_out"]["extended"]["unk_rate"] < result["held_out"]["base"]["unk_rate"]
        assert result["costs"]["parameters"]["added"] == result["added"] * 9

    def test_a_dataset_is_streamed_to_a_bound(self, inputs, tmp_path, monkeypatch):
        lines = (inputs / "ka.txt").read_text("utf-8").splitlines()
        data = tmp_path / "data"
        data.mkdir()
        records = [json.dumps({"text": "\n".join(lines[at : at + 4])}) for at in range(0, 400, 4)]
        (data / "train.jsonl").write_text("\n".join(records), "utf-8")
        run = opened(inputs, tmp_path / "run", corpus=[f"hf:{data}"])
        assert plan(run, QUIET)["corpus"]["lines"] == 400
        monkeypatch.setattr(planning, "STREAM_BYTES", 4000)
        corpus = plan(run, QUIET)["corpus"]
        assert 0 < corpus["lines"] < 400
        assert corpus["cut"] == [f"hf:{data}"]

    def test_standard_input_is_refused(self, inputs, tmp_path):
        with pytest.raises(UsageError, match="standard input"):
            plan(opened(inputs, tmp_path / "run", corpus=["-"]), QUIET)


class TestLintUnderTheBase:
    def test_the_effect_of_a_fault_is_measured_against_the_mended_words(self, inputs, tmp_path):
        lines = (inputs / "en.txt").read_text("utf-8").splitlines()
        spoilt = [line.replace("a", "а") for line in lines[:200]]  # Cyrillic
        (tmp_path / "en.txt").write_text("\n".join([*spoilt, *lines[200:]]), "utf-8")
        run = opened(inputs, tmp_path / "run", lang="en", corpus=[str(tmp_path / "en.txt")])
        (finding,) = [one for one in plan(run, QUIET)["lint"] if one["name"] == "confusables"]
        words = [word for line in spoilt for word in line.split() if "а" in word and word != "а" * len(word)]
        assert finding["words"] == len(words)
        assert finding["effect"]["unk_rate"] == 1.0
        assert finding["effect"]["mended"]["unk_rate"] == 0.0
        assert finding["characters"] == [
            {"name": "U+0430 cyrillic small letter a", "count": "".join(words).count("а")}
        ]

    def test_words_of_a_tagged_set_are_looked_at_apart(self, inputs, tmp_path):
        sentences = [("ა\u200bბ", "გ"), ("დ",)]
        result = plan(opened(inputs, tmp_path / "run"), QUIET, ner={"ka.test": sentences})
        (told,) = result["ner"].values()
        assert (told["sentences"], told["words"], told["unk_rate"]) == (2, 3, 1.0)
        assert [one["name"] for one in told["lint"]] == ["invisible"]
        assert result["lint"] == []


class TestCommand:
    def arguments(self, inputs: Path, *more: str) -> list[str]:
        base = ["plan", "--lang", "ka", "--base", str(inputs / "base"), "--corpus", str(inputs / "ka.txt")]
        return [*base, "--size", "60", *more]

    def test_json_has_its_names(self, inputs, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        ner = str(inputs / "ka.test.conll")
        code = main(self.arguments(inputs, "--ner", ner, "--device", "t4", "--format", "json", "--seed", "3"))
        result = json.loads(capsys.readouterr().out)
        assert code == 0
        assert {
            "language", "base", "corpus", "lint", "identified", "held_out", "added", "size", "lacking",
            "ner", "costs", "verdict", "warnings", "seconds",
        } <= result.keys()  # fmt: skip
        assert result["language"]["code"] == "ka"
        assert result["ner"].keys() == {str(inputs / "ka.test.conll")}
        assert result["corpus"]["sample"]["seed"] == 3
        assert result["costs"]["devices"][0]["device"] == "T4"
        assert result["costs"]["this_machine"]["estimate"] is True
        assert result["costs"]["this_machine"]["seconds_a_step"] > 0
        assert result["verdict"]["name"] == "too-small"
        assert list(tmp_path.iterdir()) == []

    def test_text_ends_with_the_verdict_and_columns_stand(self, inputs, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        lines = (inputs / "ka.txt").read_text("utf-8").splitlines()
        arabic = "بۇ يىل قىشتا ھاۋا بەك سوغۇق بولدى ۋە كۆپ قار ياغدى مەكتـەپ"
        text = "\n".join([*lines, *(f"{arabic} {line}" for line in lines[:60])])
        Path("mixed.txt").write_text(text, "utf-8")
        arguments = self.arguments(inputs, "--no-probe", "--device", "A100", "--set", "pretrain.steps=7")
        arguments[arguments.index("--corpus") + 1] = "mixed.txt"
        assert main(arguments) == 0
        shown = capsys.readouterr().out
        assert "\nVerdict: the corpus is too small\n  - " in shown
        assert "Estimates for 7 steps" in shown
        assert "\u2068مەكتـەپ\u2069 → \u2068مەكتەپ\u2069" in shown
        for table in re.findall(r"┏.*?┘", shown, re.DOTALL):
            assert len({cell_len(line) for line in table.splitlines()}) == 1

    def test_a_dry_run_reads_no_text_and_writes_nothing(self, inputs, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        out = str(tmp_path / "plan.json")
        assert main(self.arguments(inputs, "--dry-run", "--out", out, "--format", "json")) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["corpus"] == {str(inputs / "ka.txt"): (inputs / "ka.txt").stat().st_size}
        assert (told["stage"], told["tokenizer"], told["out"]) == ("plan", "WordPiece", out)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("more", "code", "name"),
        [
            (["--device", "abacus"], 2, "E-DEVICE"),
            (["--sample", "much"], 2, "E-USAGE"),
            (["--size", "0"], 2, "E-USAGE"),
            (["--ner", "none.conll"], 4, "E-PATH"),
            (["--out", "/"], 4, "E-PATH"),
            (["--corpus", "none.txt"], 4, "E-PATH"),
        ],
    )
    def test_what_cannot_be_planned_is_told_at_once(self, more, code, name, inputs, capsys):
        for dry in ([], ["--dry-run"]):
            assert main(self.arguments(inputs, *more, *dry)) == code
            assert f"error[{name}]" in capsys.readouterr().err

    def test_a_size_of_sample_is_read(self, inputs, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        for more, whole in ((["--sample", "2.5kB"], False), (["--sample", "2kb", "--full"], True)):
            assert main(self.arguments(inputs, "--no-probe", "--format", "json", *more)) == 0
            assert json.loads(capsys.readouterr().out)["corpus"]["sample"]["whole"] is whole


def test_a_dry_run_and_a_plan_refuse_the_same(inputs, tmp_path):
    for given in ({"corpus": ["-"]}, {"base": str(tmp_path)}):
        raised = []
        for planned in (lambda run: plan(run, QUIET), lambda run: check_plan(run, QUIET, None)):
            with pytest.raises((UsageError, CheckpointError)) as caught:
                planned(opened(inputs, tmp_path / "run", **given))
            raised.append((type(caught.value), str(caught.value)))
        assert raised[0] == raised[1]
