"""Ways to start new rows: held-out loss before any training, and after a little of the new rows alone.

    EXTEND_DATA=/path/to/data python benchmarks/initialisation.py --base runs/si-base/model

Everything is measured by `extend grow --compare`, in processes of their own: all ways under the same masks,
the same batches afterwards. The texts are the made world (a base of its own for every seed, trained as the
quickstart does) and, with `--base`, languages of $EXTEND_DATA. A seed changes the held-out lines, the draws,
the vectors and the masks; the tables have the mean over seeds, with the lowest and the highest, in nats a
masked piece. The last table is paired: what distilling on `--distil` lines moves, seed by seed.
`--keep FOLDER` keeps the runs, and goes on where it stopped.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from extend.quickstart import Plan
from extend.store import write_text
from extend.world import BASE_LANGUAGES, NEW_LANGUAGE, WorldSize, make_world, write_world

METHODS = ("mean", "paper", "normal", "mvn", "script", "subword", "ofa", "focus")
DISTILLED = ("subword", "focus")
OWN, FREQUENCY = "own", "frequency"


@dataclass(frozen=True)
class Text:
    """A language's text and the base that it is brought to; `settings` are for `--set`."""

    code: str
    corpus: Path
    base: Path
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What is compared, and for how long the new rows are trained."""

    methods: tuple[str, ...]
    probe_steps: int
    distil: int

    @property
    def kinds(self) -> dict[str, str]:
        """The losses of each way, and when they were measured."""
        after = {"probe_loss": f"after {self.probe_steps} steps"} if self.probe_steps else {}
        return {"mlm_loss": "step 0", **after}


def extend(*arguments: str) -> dict[str, Any]:
    """One command's answer."""
    program = [sys.executable, "-m", "extend.cli", *arguments, "--offline", "--format", "json"]
    ended = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def world(folder: Path, seed: int, plan: Plan, steps: int) -> Text:
    """The made world of `seed` and a base trained on its three old languages."""
    texts, base = folder / "world", folder / "base"
    if not (base / "model").is_dir():
        write_world(make_world(seed=seed, size=WorldSize()), texts)
        languages = "".join(f'{code} = ["{texts}/text/{code}.txt"]\n' for code in BASE_LANGUAGES)
        write_text(folder / "base.toml", f"[scratch.languages]\n{languages}")
        values = {
            "scratch.hidden_size": plan.hidden_size,
            "scratch.layers": plan.layers,
            "scratch.heads": 4,
            "scratch.intermediate_size": 3 * plan.hidden_size,
            "scratch.vocab_size": plan.base_pieces,
            "pretrain.steps": steps,
            "pretrain.batch_size": plan.batch_size,
            "pretrain.learning_rate": plan.learning_rate,
            "pretrain.warmup_steps": max(1, steps // 12),
            "pretrain.length": plan.length,
            "pretrain.mask_rate": 0.2,
        }
        extend(
            *("pretrain", "--from-scratch", "--config", str(folder / "base.toml"), "--run", str(base)),
            *("--lang", BASE_LANGUAGES[0], "--seed", str(seed), *set_(values)),
        )
    held_out = {"vocab.held_out_lines": plan.held_out_lines, "vocab.held_out_share": 0.0}
    settings = {**held_out, "vocab.size": plan.new_pieces, "pretrain.length": plan.length}
    corpus = texts / "text" / f"{NEW_LANGUAGE}.txt"
    return Text(NEW_LANGUAGE, corpus, base / "model", tuple(set_(settings)))


def real(folder: Path, code: str, base: Path, *, lines: int, pieces: int) -> Text:
    """The first lines of a language's text under $EXTEND_DATA."""
    corpus = folder / f"{code}.txt"
    with open(Path(os.environ["EXTEND_DATA"], "text", f"{code}.txt"), encoding="utf-8") as source:
        write_text(corpus, "".join(islice(source, lines)))
    return Text(code, corpus, base, tuple(set_({"vocab.size": pieces, "pretrain.length": 64})))


def set_(values: dict[str, Any]) -> list[str]:
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def compared(text: Text, run: Path, seed: int, wanted: Wanted) -> dict[str, Any]:
    """Losses of every way: by bias, then method, `mlm_loss` and `probe_loss`; and `distilled` by method."""
    done, asked = run / "measured.json", dataclasses.asdict(wanted)
    if done.is_file():
        found: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        if found.pop("wanted") == json.loads(json.dumps(asked)):
            return found
    common = [
        *("grow", "--lang", text.code, "--run", str(run), "--base", str(text.base), "--seed", str(seed)),
        *("--corpus", str(text.corpus), "--probe-steps", str(wanted.probe_steps)),
        *("--set", f"pretrain.new_rows_warmup_steps={max(1, wanted.probe_steps // 10)}", *text.settings),
    ]
    names, distil = ",".join(wanted.methods), ["--distil", str(wanted.distil)]
    both = ",".join(method for method in DISTILLED if method in wanted.methods)
    measured = {
        OWN: extend(*common, "--compare", names)["compare"],
        FREQUENCY: extend(*common, "--compare", names, "--bias", FREQUENCY)["compare"],
    }
    if wanted.distil and both:
        measured["distilled"] = extend(*common, "--compare", both, *distil)["compare"]
    write_text(done, json.dumps({**measured, "wanted": asked}))
    return measured


def table(name: str, found: Sequence[dict[str, Any]], wanted: Wanted) -> str:
    """Markdown: a method a row."""
    columns = [(bias, kind) for bias in (OWN, FREQUENCY) for kind in wanted.kinds]
    heads = [f"{bias} bias, {wanted.kinds[kind]}" for bias, kind in columns]
    lines = [f"| {name} | {' | '.join(heads)} |", f"| --- | {' | '.join(['---:'] * len(heads))} |"]
    for method in wanted.methods:
        cells = [spread([one[bias][method][kind] for one in found]) for bias, kind in columns]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def distilling(name: str, found: Sequence[dict[str, Any]], wanted: Wanted) -> str:
    """Markdown: what distilling moves, below zero for the better."""
    heads = " | ".join(wanted.kinds.values())
    lines = [f"| {name}, distilled on {wanted.distil} lines | {heads} |"]
    lines.append("| --- |" + " ---: |" * len(wanted.kinds))
    for method in found[0].get("distilled", ()):
        cells = [
            spread([one["distilled"][method][kind] - one[OWN][method][kind] for one in found], sign="+")
            for kind in wanted.kinds
        ]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float], *, sign: str = "") -> str:
    low, mean, high = min(values), statistics.fmean(values), max(values)
    if len(values) == 1:
        return f"{mean:{sign}.2f}"
    return f"{mean:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--probe-steps", type=int, default=50)
    parser.add_argument("--distil", type=int, default=2000, metavar="LINES", help="0: not at all")
    parser.add_argument("--texts", nargs="+", default=["world", "si", "rw"])
    parser.add_argument("--base", type=Path, help="of the languages that are not the made world")
    parser.add_argument("--lines", type=int, default=30_000, help="of each of those languages")
    parser.add_argument("--pieces", type=int, default=8000, help="new pieces of each of those languages")
    parser.add_argument("--base-steps", type=int, default=Plan().base_steps, help="of the world's bases")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    wanted = Wanted(tuple(given.methods), given.probe_steps, given.distil)
    with tempfile.TemporaryDirectory() as temporary:
        top = given.keep or Path(temporary)
        for name in given.texts:
            if name != "world" and given.base is None:
                parser.error(f"{name} needs --base")
            found = []
            for seed in given.seeds:
                folder = top / f"{name}-{seed}"
                folder.mkdir(parents=True, exist_ok=True)
                if name == "world":
                    text = world(folder, seed, Plan(), given.base_steps)
                else:
                    text = real(folder, name, given.base, lines=given.lines, pieces=given.pieces)
                found.append(compared(text, folder / "run", seed, wanted))
                print(f"{name}, seed {seed}: done", file=sys.stderr, flush=True)
            print(table(name, found, wanted), end="\n\n")
            if wanted.distil:
                print(distilling(name, found, wanted), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
