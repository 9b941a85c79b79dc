"""The text forms of the NER commands: every policy, every number of the results, verdicts in words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from extend.cli.evaluation import _comparison_text, _evaluation_text, _score_text
from extend.cli.output import Render, print_text
from ner.compare import compare, score_tags
from tests.ner.made_outcomes import made_outcomes, made_results, made_tests


def told(render: Render, result: Mapping[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    print_text(render(result))
    return capsys.readouterr().out


def test_scores_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    result = score_tags([["B-PER", "I-PER", "O", "B-LOC"]], [["I-PER", "I-PER", "O", "B-ORG"]])
    text = told(_score_text, result, capsys)
    for name in ("strict", "repaired", "lenient, span", "lenient, overlap", "lenient, partial", "50.0 ["):
        assert name in text
    assert "errors: type 1 (100 %), boundary 0 (0 %), missed 0 (0 %), spurious 0 (0 %)" in text
    assert "illegal: 1" in text
    assert "predicted scheme: IOB2" in text


def test_a_comparison_ends_in_a_verdict(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name, step in (("weak", 5), ("strong", 1)):
        rows = [f"w{n}\tB-PER\t{'B-PER' if n % step == 0 else 'O'}\n\n" for n in range(80)]
        (tmp_path / f"{name}.conll").write_text("".join(rows), "utf-8")
    result = compare(tmp_path / "weak.conll", tmp_path / "strong.conll")
    text = told(_comparison_text, result, capsys)
    assert "strong - weak" in text
    assert "better" in text
    assert "95 % interval" in text


def test_an_evaluation_is_one_screen_a_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    results = made_results(made_outcomes(), made_tests())
    text = told(_evaluation_text, results, capsys)
    assert "NER, zero-shot" in text
    assert "en -> ug   test 3 sentences" in text
    both = told(_evaluation_text, {"zero-shot": results, "supervised": results}, capsys)
    assert both.count("en -> ug   test") == 2
    assert max(map(len, text.splitlines())) <= 200
