"""`extend plan`: what a language, its text and a base look like before anything is trained."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from extend.cli.command import Call, Result, command
from extend.cli.output import every_value, figure, table
from extend.cli.runs import open_run
from extend.errors import escaped

_TEXT, _COSTS = "Text", "Costs"
_ISOLATE, _END = "\u2068", "\u2069"
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMG])B", re.IGNORECASE)
_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}


def register(app: typer.Typer) -> None:
    """Put this group's command into the application."""
    command(
        app,
        "plan",
        panel="Start here",
        render=_shown,
        example="extend plan --lang ug --corpus ug.txt.gz --size 8000 --device T4",
    )(plan)


def _number_or_auto(value: str | None) -> str | None:
    if value in (None, "auto") or (value.isdecimal() and int(value) > 0):
        return value
    raise typer.BadParameter(f"{value!r} is neither a number of at least 1 nor auto.")


def _bytes(value: str | None) -> str | None:
    if value is None or _SIZE.fullmatch(value):
        return value
    raise typer.BadParameter(f"{value!r} is no size such as 20MB.")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is looked at, and what is reckoned with."""

    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="N|auto",
            help="New pieces; auto: the curve and its knee.",
            rich_help_panel=_TEXT,
            callback=_number_or_auto,
        ),
    ] = None
    sample: Annotated[
        str | None,
        typer.Option(
            "--sample",
            metavar="SIZE",
            help="Distinct lines looked at closely, as 5MB.  [default: 20MB]",
            rich_help_panel=_TEXT,
            callback=_bytes,
        ),
    ] = None
    full: Annotated[
        bool, typer.Option("--full", help="Look at every line of the files.", rich_help_panel=_TEXT)
    ] = False
    ner: Annotated[
        list[Path] | None,
        typer.Option(
            "--ner", metavar="FILE", help="NER file to look at too; repeatable.", rich_help_panel=_TEXT
        ),
    ] = None
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="GPU",
            help="Reckon with this GPU, as T4 or A100; repeatable.",
            rich_help_panel=_COSTS,
        ),
    ] = None
    probe: Annotated[
        bool,
        typer.Option("--probe/--no-probe", help="Measure this machine for a second.", rich_help_panel=_COSTS),
    ] = True
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the plan as JSON too.", rich_help_panel=_COSTS),
    ] = None


def plan(call: Call, *, asked: Asked) -> Result:
    """Say, before any training, what extending would take and give: text, base, costs, a verdict."""
    size = asked.size if asked.size in (None, "auto") else int(asked.size)
    run = open_run(call, {"vocab.size": size, "seed": call.talk.seed})
    from extend.recipe import planning

    most = planning.SAMPLE_BYTES if asked.sample is None else _size_of(asked.sample)
    wanted = planning.Wanted(None if asked.full else most, tuple(asked.device or ()), asked.probe)
    tagged = planning.tagged_words(asked.ner or ())
    if call.talk.dry_run:
        return {**planning.check_plan(run, wanted, asked.out), "ner": list(tagged)}
    return planning.plan(run, wanted, ner=tagged, out=asked.out, on_progress=call.display)


def _size_of(text: str) -> int:
    found = _SIZE.fullmatch(text)
    assert found, "checked when it was parsed"
    return max(int(float(found[1]) * _UNITS[found[2].upper()]), 1)


def _shown(result: Result) -> Iterable[RenderableType]:
    if "verdict" not in result:
        yield from every_value(result)
        return
    yield from _language(result)
    yield from _corpus(result["corpus"])
    yield from _identified(result["identified"])
    yield _lint(result["lint"], "Unicode, by words of the text")
    for path, one in result["ner"].items():
        name = escaped(Path(path).name)
        yield (
            f"{name}: {one['sentences']:,} sentences, {one['fertility']:.3f} pieces a word, "
            f"{one['unk_rate']:.2%} of the words with an unknown piece"
        )
        if one["lint"]:
            yield _lint(one["lint"], f"Unicode, by words of {name}")
    yield from _base(result)
    yield from _costs(result["costs"])
    verdict = result["verdict"]
    yield ""
    yield f"Verdict: {verdict['text']}"
    yield from (f"  - {reason}" for reason in verdict["reasons"])


def _language(result: Result) -> Iterator[RenderableType]:
    from extend import languages

    for label, text in languages.passport(languages.resolve(result["language"]["bcp47"])).facts():
        if text != "has none":
            yield f"{label}: {_isolated(text)}"
    base = result["base"]
    seen = {True: "read this language", False: "did not read this language", None: "is not known to us"}
    told = f"base: {escaped(base['name'])}, {base['pieces']:,} {base['tokenizer']} pieces"
    yield f"{told}; its pretraining {seen[base['seen']]}"


def _corpus(corpus: Mapping[str, Any]) -> Iterator[RenderableType]:
    sample, words, repeats = corpus["sample"], corpus["line_words"], corpus["duplicates"]
    whole = (
        "all looked at" if sample["whole"] else f"{sample['lines']:,} drawn by hash, seed {sample['seed']}"
    )
    about = "" if sample["whole"] else "about "
    words_told = f"{about}{corpus['words']:,} words, {_size(corpus['bytes'])}"
    yield f"corpus: {corpus['lines']:,} lines ({whole}), {words_told}"
    yield from (f"  {escaped(name)}: only its beginning was streamed" for name in corpus["cut"])
    yield (
        f"words a line: median {words['median']}, 5 % up to {words['p5']}, 95 % up to {words['p95']}, "
        f"longest {words['longest']:,}; {words['short_share']:.1%} of lines under 3 words"
    )
    yield f"repeated lines: {repeats['share']:.2%} exactly, {repeats['near_share']:.2%} or nearly"
    scripts = [f"{name} {share:.2%}" for name, share in list(corpus["scripts"].items())[:4]]
    yield f"letters: {', '.join(scripts) or 'none'}"


def _identified(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    how = found["by"] if found["by"] != "script" else "script (no label for this language in py3langid)"
    few = ", too few to say much" if found["few"] else ""
    yield (
        f"lines by {how}: {found['lines']:,} judged{few}; {found['own']:.1%} {found['label'] or 'unknown'}, "
        f"{found['relatives']:.1%} close relatives, {found['other']:.1%} others"
    )
    if found["others"]:
        rows = [
            [one["label"], _share(one["share"]), _isolated(one["examples"][0])] for one in found["others"]
        ]
        yield _table(["looks like", "lines", "for example"], rows, left=(2,))


def _lint(findings: Sequence[Mapping[str, Any]], title: str) -> RenderableType:
    if not findings:
        return f"{title}: nothing found"
    rows = []
    for one in findings:
        mended, examples = one["effect"]["mended"], one["examples"]
        rows.append(
            [
                one["name"].replace("_", " "),
                one["words"],
                _share(one["share"]),
                _share(one["effect"]["unk_rate"]),
                _share(mended["unk_rate"]) if mended else None,
                f"{one['effect']['pieces']:.2f}",
                f"{mended['pieces']:.2f}" if mended else None,
                _example(examples[0]) if examples else "",
            ]
        )
    head = ["found", "words", "share", "[UNK]", "mended", "pieces", "mended", "for example"]
    return _table(head, rows, left=(7,), title=title)


def _example(one: Mapping[str, Any]) -> str:
    mended = f" → {_isolated(one['mended'])}" if one["mended"] else ""
    return _isolated(one["word"]) + mended


def _base(result: Result) -> Iterator[RenderableType]:
    held_out, lacking = result["held_out"], result["lacking"]
    rows = [
        [
            name,
            *(f"{one[key]['fertility']:.3f}" for one in (held_out, held_out["lettered"])),
            *(_share(one[key]["unk_rate"]) for one in (held_out, held_out["lettered"])),
        ]
        for name, key in (("base", "base"), (f"with {result['added']:,} new pieces", "extended"))
    ]
    title = f"{held_out['lines']:,} lines that were held out ({held_out['words']:,} words)"
    head = ["", "pieces a word", "of words with letters", "words with [UNK]", "of words with letters"]
    yield _table(head, rows, title=title)
    if sizes := result.get("sizes"):
        points = [[one["size"], one["fertility"], _share(one["unk_rate"])] for one in sizes]
        yield _table(["new pieces", "pieces a word", "words with [UNK]"], points)
    most = " ".join(_isolated(one["character"]) for one in lacking["most"])
    yield (
        f"characters the base lacks: {lacking['characters']:,}, in {lacking['words']:.2%} of the words"
        + (f": {most}" if most else "")
    )


def _costs(costs: Mapping[str, Any]) -> Iterator[RenderableType]:
    parameters, disk = costs["parameters"], costs["disk"]
    yield f"parameters: {parameters['base']:,} and {parameters['added']:,} new"
    yield (
        f"on disk: checkpoint {_size(disk['checkpoint'])}, "
        f"the new rows alone {_size(disk['delta_fp32'])} (fp16: {_size(disk['delta_fp16'])}), "
        f"run folder up to {_size(disk['run_folder'])}"
    )
    devices = [*([costs["this_machine"]] if costs["this_machine"] else []), *costs["devices"]]
    if not devices:
        return
    rows = [
        [
            one["device"] if "fits" in one else f"this machine: {one['device']}",
            one["precision"],
            _size(one["needed"]),
            _fits(one, costs["batch_size"]),
            one["seconds_a_step"],
            _hours(one["hours"]),
        ]
        for one in devices
    ]
    title = f"Estimates for {costs['steps']:,} steps of {costs['batch_size']} x {costs['length']}"
    yield _table(["device", "precision", "memory", "fits", "s a step", "time"], rows, title=title)


def _fits(one: Mapping[str, Any], batch: int) -> str | None:
    if "fits" not in one:
        return None
    if one["micro_batch"] is None:
        return "no"
    return "yes" if one["micro_batch"] >= batch or one["fits"] else f"with micro_batch {one['micro_batch']}"


def _hours(hours: float | None) -> str | None:
    if hours is None:
        return None
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    return f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"


def _size(count: float) -> str:
    for name, unit in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count:,.0f} bytes"


def _share(share: float) -> str:
    return f"{share:.2%}"


def _isolated(text: str) -> str:
    """Text of any direction, so that it moves nothing beside it."""
    return f"{_ISOLATE}{text}{_END}" if not text.isascii() else text


def _table(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, left: Sequence[int] = (), title: str = ""
) -> RenderableType:
    made = table(header, [[figure(value) for value in row] for row in rows], title=title)
    for index in left:
        made.columns[index].justify = "left"
    return made
