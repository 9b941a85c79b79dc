"""Named-entity evaluation: of encoders, of a file of predictions, of two against each other."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from extend.cli.command import Call, Result, command
from extend.cli.ner_data import NerFiles, data_text
from extend.cli.ner_method import NerMethod
from extend.cli.output import every_value, facts, table, with_interval
from extend.cli.runs import open_run

_PANEL = "Evaluation"


def register(app: typer.Typer) -> None:
    """Put this group's commands into the application."""
    command(
        app,
        "ner-eval",
        panel=_PANEL,
        render=_evaluation_text,
        example="extend ner-eval --lang ug --zero-shot --train en=en/train.conll --test en=en/test.conll "
        "--test ug=ug/test.conll",
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


def ner_eval(
    call: Call,
    *,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="Train on the source language, test on the target.")
    ] = False,
    supervised: Annotated[bool, typer.Option("--supervised", help="Train on the target language.")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="Heads trained a setting.")] = None,
    source: Annotated[str | None, typer.Option(help="Language zero-shot heads are trained on.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Evaluate again what is done with the same encoders and data.")
    ] = False,
    files: NerFiles,
    method: NerMethod,
) -> Result:
    """Train taggers on base and extended encoder; zero-shot and supervised when no protocol is named."""
    settings: dict[str, Any] = {
        "ner.seeds": seeds,
        "ner.seed": call.talk.seed,
        **files.settings(),
        **method.settings(),
    }
    if source is not None:
        from extend import languages

        settings["ner.source"] = languages.resolve(source).code
    run = open_run(call, settings)
    from extend import recipe

    if call.talk.dry_run:
        return recipe.check(run, "ner-eval")
    both = zero_shot == supervised and (zero_shot or not method.few_shot)
    results = recipe.evaluate_ner(run, zero_shot or both, supervised or both, call.display, again=again)
    alone: list[Result] = list(results.values())
    return results if both or len(alone) > 1 else alone[0]


def _evaluation_text(result: Result) -> Iterable[RenderableType]:
    if "stage" in result:
        yield from every_value(result)
        return
    from ner.screen import screen_text

    for results in [result] if "encoders" in result else result.values():
        yield f"NER, {results['protocol']}\n"
        yield from data_text(results)
        yield screen_text(results)


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
    names = {"strict": result["strict"], "repaired": result["repaired"]}
    names |= {f"lenient, {name}": one for name, one in result["lenient"].items()}
    rates = ("precision", "recall", "f1")
    interval = {"repaired": with_interval(result["repaired"]["f1"], result["ci95"])}
    yield table(
        ["", "precision", "recall", "F1", "95 % interval"],
        [
            [name, *(f"{one[rate]:.1f}" for rate in rates), interval.get(name, "")]
            for name, one in names.items()
        ],
    )
    counts = ("support", "predicted", "matched")
    yield table(
        ["type", "precision", "recall", "F1", "entities", "predicted", "right"],
        [
            [name, *(f"{one[rate]:.1f}" for rate in rates), *(one[count] for count in counts)]
            for name, one in result["per_type"].items()
        ],
    )
    shares = result["error_shares"]
    told = ", ".join(
        f"{kind} {count} ({100 * shares[kind]:.0f} %)" for kind, count in result["errors"].items()
    )
    yield f"errors: {told}"
    yield from facts(result, "illegal", "scheme", "predicted_scheme", "sentences", "words", "entities")


def ner_compare(
    call: Call,
    *,
    first: Annotated[Path, typer.Argument(metavar="A", help="A file or folder of predictions.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The other, on the same sentences.")],
) -> Result:
    """Test whether B differs from A: paired bootstrap over the same sentences."""
    from ner import compare

    if call.talk.seed is None:
        return compare.compare(first, second)
    return compare.compare(first, second, seed=call.talk.seed)


def _comparison_text(result: Result) -> Iterable[RenderableType]:
    columns = ["B - A", "A", "B", "seeds", "difference, 95 % interval", "p", "p, Holm", "ASO", "verdict"]
    rows = [
        [
            name,
            *(with_interval(one[side]["f1_mean"], one[side]["ci95"]) for side in ("first", "second")),
            f"{one['first']['seeds']}, {one['second']['seeds']}",
            with_interval(one["f1"], one["ci95"]),
            one["p"],
            one["p_holm"],
            one.get("aso"),
            one["verdict"],
        ]
        for name, one in result["comparisons"].items()
    ]
    yield table(columns, rows)
    yield "F1 in percent, paired over the same sentences; noise: 0 lies within, or p is 0.05 or more"
