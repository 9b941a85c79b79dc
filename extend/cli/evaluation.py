"""Named-entity evaluation: of encoders, of a file of predictions, of two against each other."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from extend.cli.command import Call, Result, command
from extend.cli.output import every_value, facts, table, with_interval
from extend.cli.runs import open_run, per_language

_PANEL = "Evaluation"
_Files = list[str] | None


def register(app: typer.Typer) -> None:
    """Put this group's commands into the application."""
    command(
        app,
        "ner-eval",
        panel=_PANEL,
        render=_evaluation_text,
        example="extend ner-eval --lang ug --zero-shot --train en=en/train.conll --test ug=ug/test.conll",
    )(ner_eval)
    command(
        app,
        "ner-score",
        panel=_PANEL,
        render=_score_text,
        example="extend ner-score gold.conll predicted.conll",
        on_run=False,
    )(ner_score)
    command(
        app,
        "ner-compare",
        panel=_PANEL,
        render=_comparison_text,
        example="extend ner-compare predictions/base-en-si predictions/extended-en-si",
        on_run=False,
    )(ner_compare)


def _per_language_files(**options: _Files) -> dict[str, str]:
    return {
        f"ner.data.{code}.{split}": paths[-1]
        for split, values in options.items()
        for code, paths in per_language(values, option=f"--{split}").items()
    }


def ner_eval(
    call: Call,
    *,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="Train on the source language, test on the target.")
    ] = False,
    supervised: Annotated[bool, typer.Option("--supervised", help="Train on the target language.")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="Heads trained a setting.")] = None,
    source: Annotated[str | None, typer.Option(help="Language zero-shot heads are trained on.")] = None,
    train: Annotated[_Files, typer.Option(metavar="LANG=PATH", help="Training file; repeatable.")] = None,
    dev: Annotated[_Files, typer.Option(metavar="LANG=PATH", help="Selection file; repeatable.")] = None,
    test: Annotated[_Files, typer.Option(metavar="LANG=PATH", help="Test file; repeatable.")] = None,
) -> Result:
    """Train BiLSTM-CRF taggers on base and extended encoder; both protocols when neither is named."""
    settings: dict[str, Any] = {
        "ner.seeds": seeds,
        "ner.seed": call.talk.seed,
        **_per_language_files(train=train, dev=dev, test=test),
    }
    if source is not None:
        from extend import languages

        settings["ner.source"] = languages.resolve(source).code
    run = open_run(call, settings)
    from extend import recipe

    if call.talk.dry_run:
        return recipe.check(run, "ner-eval")
    both = zero_shot == supervised
    results = recipe.evaluate_ner(run, zero_shot or both, supervised or both, call.display)
    if both:
        return results
    alone: Result = results["zero-shot" if zero_shot else "supervised"]
    return alone


def _evaluation_text(result: Result) -> Iterable[RenderableType]:
    if "stage" in result:
        yield from every_value(result)
        return
    columns = ["encoder · language", "F1, 95 % interval", "± seeds", "[UNK] rate", "pieces a word"]
    for results in [result] if "encoders" in result else result.values():
        rows = [
            [f"{encoder} · {language}", *_columns(one)]
            for encoder, languages in results["encoders"].items()
            for language, one in languages.items()
        ]
        yield table(columns, rows, title=results["protocol"])


def _columns(one: dict[str, Any]) -> list[object]:
    return [with_interval(one["f1_mean"], one["ci95"]), one["f1_std"], one["unk_rate"], one["fertility"]]


def ner_score(
    call: Call,
    *,
    gold: Annotated[Path, typer.Argument(help="CoNLL file with the right tags.")],
    predicted: Annotated[Path, typer.Argument(help="CoNLL file with the predicted tags.")],
) -> Result:
    """Score a file of predictions: strict and repaired span precision, recall and F1."""
    from ner import compare

    return compare.score_files(gold, predicted)


def _score_text(result: Result) -> Iterable[RenderableType]:
    rows = [(name, result[name]) for name in ("strict", "repaired")]
    rows += list(result.get("per_type", {}).items())
    yield table(
        ["", "precision", "recall", "F1"],
        [[name, one["precision"], one["recall"], one["f1"]] for name, one in rows],
    )
    yield from facts(result, "illegal")


def ner_compare(
    call: Call,
    *,
    first: Annotated[Path, typer.Argument(metavar="A", help="A file or folder of predictions.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The other, on the same sentences.")],
) -> Result:
    """Test whether B differs from A: paired bootstrap over the same sentences."""
    from ner import compare

    return compare.compare(first, second, **({} if call.talk.seed is None else {"seed": call.talk.seed}))


def _comparison_text(result: Result) -> Iterable[RenderableType]:
    columns = ["B - A", "A", "B", "difference, 95 % interval", "p", "verdict"]
    rows = [
        [
            name,
            *(with_interval(one[side]["f1_mean"], one[side]["ci95"]) for side in ("first", "second")),
            with_interval(one["f1"], one["ci95"]),
            one["p"],
            "inside the noise" if one["noise"] else "differs",
        ]
        for name, one in result["comparisons"].items()
    ]
    yield table(columns, rows)
