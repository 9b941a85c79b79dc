"""What each way of training costs the old languages and gives the new one.

    python benchmarks/forgetting.py FOLDER                             # the made world, seeds 1 to 3
    EXTEND_DATA=/path/to/data python benchmarks/forgetting.py FOLDER --base runs/si-base/model --seeds 1

The second brings Sinhala to the base of configs/si-base.toml. The made world (extend.world) has three
languages that a small base is trained on and a new one in a script of its own. Each way brings the same grown
base to the new language in the same number of steps; only the settings below differ. Told of each, as means
over the seeds with 95 % intervals of the mean (Student's t):

- held-out MLM loss of the new language, in nats a masked piece, all ways under the same masks;
- forgetting: the same on the old languages, now minus before any training, mean over them;
- in the made world, zero-shot F1 on the new language and F1 on the source: heads (BiLSTM-CRF) are trained on
  the frozen encoder's vectors of the source language, names of the test sentences occur in no training text;
- tokens a second of processor time on one thread, from the first logged step to the last.

What is done is kept in FOLDER, a file a way, and not done again; a way that was killed resumes.
"""

import argparse
import dataclasses
import json
import math
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from extend import recipe, store
from extend.config import load_settings
from extend.languages import resolve
from extend.recipe.blending import blend
from extend.types import Progress
from extend.world import BASE_LANGUAGES, NEW_LANGUAGE, WorldSize, make_world, write_world
from ner.evaluate import TrainSettings, evaluate

Settings = dict[str, Any]
T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Student's t at 0.975 by degrees of freedom."""

_ROWS = {"new_rows_steps": "{half}"}
_TENTH, _HALF = {"replay_share": 0.1}, {"replay_share": 0.5}
WAYS: Mapping[str, Settings] = {
    "nothing": {"steps": 0},
    "all weights": {},
    "all weights, a tenth of the rate": {"learning_rate": "{slow}"},
    "new rows alone": {"new_rows_steps": "{steps}"},
    "new rows, then all": _ROWS,
    "all, replay 0.1": _TENTH,
    "all, replay 0.5": _HALF,
    "all, replay 0.1, KL to the base": {**_TENTH, "distil_weight": 1.0},
    "all, replay 0.5, KL to the base": {**_HALF, "distil_weight": 1.0},
    "all, pulled to the base (l2_to_base 3)": {"l2_to_base": 3.0},
    "new rows, then all, replay 0.1, KL": {**_ROWS, **_TENTH, "distil_weight": 1.0},
    "LoRA and new rows": {"adapt": "lora", "train": "new-rows"},
    "new rows alone, active softmax": {"new_rows_steps": "{steps}", "softmax": "active"},
    "all, replay 0.1, active softmax": {**_TENTH, "softmax": "active"},
}
BLENDS: Mapping[str, tuple[str, float, str]] = {
    "blend 0.3 of all weights": ("all weights", 0.3, "trained"),
    "blend 0.5 of all weights": ("all weights", 0.5, "trained"),
    "blend 0.7 of all weights": ("all weights", 0.7, "trained"),
    "blend 0.5 of all weights, rows too": ("all weights", 0.5, "blended"),
    "blend 0.5 of new rows, then all": ("new rows, then all", 0.5, "trained"),
}
"""Way blended, share, and what becomes of the new rows."""


@dataclasses.dataclass(frozen=True)
class Study:
    """A base, the text of a new language and of old ones, and what every way has in common."""

    folder: Path
    language: str
    base: Path
    corpus: Path
    old: Mapping[str, Path]
    ner: Path | None
    common: Settings
    steps: int
    seed: int

    def run(self, way: str, settings: Mapping[str, Any]) -> recipe.Run:
        """The run folder of one way: new rows are trained at 3 times the rate of all weights."""
        rate = self.common["learning_rate"]
        said = {"{half}": self.steps // 2, "{steps}": self.steps, "{slow}": rate / 10}
        chosen = {"steps": self.steps, "replay_share": 0.0, **self.common, **settings}
        chosen |= {
            key: said[value] for key, value in chosen.items() if isinstance(value, str) and value in said
        }
        if chosen.get("adapt") == "lora":
            chosen["learning_rate"] = 3 * rate
        alone = chosen.get("new_rows_steps", 0)
        chosen |= {
            "warmup_steps": max(1, (chosen["steps"] - alone) // 12),
            "new_rows_learning_rate": 3 * rate,
            "new_rows_warmup_steps": max(1, alone // 12),
            "replay": {code: [str(path)] for code, path in self.old.items()},
        }
        wanted = load_settings(
            None,
            {
                "lang": self.language,
                "seed": self.seed,
                "base": str(self.base),
                "corpus": [str(self.corpus)],
                "vocab.size": 2500,
                "vocab.held_out_share": 0.0,
                "vocab.held_out_lines": 400,
                **{f"pretrain.{key}": value for key, value in chosen.items()},
            },
        )
        return recipe.open_run(wanted, self.folder / _name(way), resolve(self.language))


def _name(way: str) -> str:
    return "".join(letter if letter.isalnum() or letter == "." else "-" for letter in way)


def made_world(folder: Path, *, seed: int, steps: int) -> Study:
    """The world of `seed` and the base trained on its three languages, made once."""
    world, codes = folder / "world", BASE_LANGUAGES
    if not world.is_dir():
        size = WorldSize(base_words=300_000, new_words=300_000, train=600, dev=150, test=400)
        with store.publish_directory(world) as made:
            write_world(make_world(seed=seed, size=size), made)
    texts = {code: world / "text" / f"{code}.txt" for code in (*codes, NEW_LANGUAGE)}
    common = {
        "batch_size": 32,
        "length": 64,
        "learning_rate": 1e-3,
        "mask_rate": 0.2,
        "precision": "fp32",
        "save_every": 200,
        "keep": 1,
    }
    base = load_settings(
        None,
        {
            "lang": codes[0],
            "seed": seed,
            "scratch.languages": {code: [str(texts[code])] for code in codes},
            "scratch.hidden_size": 128,
            "scratch.layers": 2,
            "scratch.heads": 4,
            "scratch.intermediate_size": 384,
            "scratch.vocab_size": 7000,
            "vocab.held_out_share": 0.0,
            "vocab.held_out_lines": 400,
            **{f"pretrain.{key}": value for key, value in common.items()},
            "pretrain.learning_rate": 2e-3,
            "pretrain.steps": 1200,
            "pretrain.warmup_steps": 100,
        },
    )
    recipe.train_from_scratch(recipe.open_run(base, folder / "base", resolve(codes[0])), _told("base"))
    return Study(
        folder,
        NEW_LANGUAGE,
        folder / "base" / "model",
        texts[NEW_LANGUAGE],
        {code: texts[code] for code in codes},
        world / "ner",
        common,
        steps,
        seed,
    )


def real_base(folder: Path, base: Path, *, seed: int, steps: int) -> Study:
    """Sinhala, in a script that the base of configs/si-base.toml does not know; six of its languages."""
    text = Path(os.environ["EXTEND_DATA"]) / "text"
    common = {
        "batch_size": 32,
        "length": 64,
        "learning_rate": 1e-3,
        "precision": "auto",
        "save_every": 200,
        "keep": 1,
    }
    old = {code: text / f"{code}.txt" for code in ("en", "ru", "hi", "ta", "ar", "tr")}
    return Study(folder, "si", base, text / "si.txt", old, None, common, steps, seed)


def train(study: Study, way: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """One way in its own run folder, which starts as a copy of the grown one."""
    run, clock = study.run(way, settings), _Clock()
    if not run.directory.is_dir():
        grown = study.run("grown", {"steps": 0})
        recipe.grow(grown, _told("grow"))
        ready = [(grown.directory, ".")]
        data = study.run("nothing", WAYS["nothing"]).pretraining / "data"
        ready += [(data, "pretrain/data")] if data.is_dir() else []
        with store.publish_directory(run.directory) as folder:
            for source, place in ready:
                shutil.copytree(
                    source, folder / place, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock")
                )
    report = recipe.pretrain(run, clock.following(_told(way)))
    return {"held_out": report["held_out"], "speed": clock.speed(report, study), "model": str(run.model)}


def blended(study: Study, of: str, t: float, rows: str) -> dict[str, Any]:
    """The model between the grown one and that of the way `of`, which is trained first if it was not."""
    measured(study, [of])
    run = study.run(of, WAYS[of])
    out = run.directory / f"blended-{t}-{rows}"
    report = blend(run, t, new_rows="trained" if rows == "trained" else "blended", out=out)
    return {"held_out": report["held_out"], "speed": None, "model": str(out)}


def zero_shot(study: Study, way: str, model: Path) -> dict[str, float]:
    """F1 in percent, on the new language and on the source, of two heads trained on the source."""
    if study.ner is None:
        return {}
    source = BASE_LANGUAGES[0]
    data = {
        code: {split: study.ner / code / f"{split}.conll" for split in ("train", "dev", "test")}
        for code in (source, NEW_LANGUAGE)
    }
    name = _name(way)
    results = evaluate(
        {name: model},
        data,
        source=source,
        targets=[NEW_LANGUAGE],
        zero_shot=True,
        supervised=False,
        out=study.folder / "ner" / name,
        settings=TrainSettings(
            seeds=2, epochs=10, patience=10, batch_size=16, hidden_size=100, layers=1, learning_rate=2e-3
        ),
    )
    found = results["zero-shot"]["encoders"][name]
    return {"f1_new": found[NEW_LANGUAGE]["f1_mean"], "f1_source": found[source]["f1_mean"]}


class _Clock:
    """Processor time from the first logged step to the last."""

    def __init__(self) -> None:
        self.marks: list[tuple[int, float]] = []

    def following(self, show: Callable[[Progress], None]) -> Callable[[Progress], None]:
        def note(progress: Progress) -> None:
            if progress.stage == "pretrain" and progress.done:
                self.marks.append((progress.done, time.process_time()))
            show(progress)

        return note

    def speed(self, report: Mapping[str, Any], study: Study) -> float | None:
        if len(self.marks) < 2 or report["resumed_from"]:
            return None
        (first, begun), (last, ended) = self.marks[0], self.marks[-1]
        tokens = (last - first) * study.common["batch_size"] * study.common["length"]
        return tokens / (ended - begun) if ended > begun else None


def _told(way: str) -> Callable[[Progress], None]:
    def show(progress: Progress) -> None:
        if progress.total and progress.done == progress.total:
            print(f"{time.strftime('%H:%M:%S')} {way}: {progress.stage} {progress.text}", flush=True)

    return show


def measured(study: Study, ways: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What each way gave, from its file or anew."""
    found = {}
    for way in ways:
        kept = study.folder / "results" / f"{_name(way)}.json"
        if not kept.is_file():
            result = blended(study, *BLENDS[way]) if way in BLENDS else train(study, way, WAYS[way])
            result |= zero_shot(study, way, Path(result.pop("model")))
            store.write_json(kept, result)
        found[way] = store.read_json(kept)
    return found


def row(way: str, results: Sequence[Mapping[str, Mapping[str, Any]]], new: str) -> list[str]:
    """A line of the table: means over the seeds."""
    told = [one[way] for one in results]
    before = [one["nothing"]["held_out"] for one in results]
    forgotten = [
        statistics.mean(
            loss["mlm_loss"] - was[code]["mlm_loss"] for code, loss in one["held_out"].items() if code != new
        )
        for one, was in zip(told, before, strict=True)
    ]
    cells = [_interval([one["held_out"][new]["mlm_loss"] for one in told], 2), _interval(forgotten, 2)]
    if "f1_new" in told[0]:
        cells += [_interval([one[name] for one in told], 0) for name in ("f1_new", "f1_source")]
    speeds = [one["speed"] for one in told if one["speed"]]
    return [way, *cells, f"{statistics.median(speeds):,.0f}" if speeds else "—"]


def _interval(values: Sequence[float], digits: int) -> str:
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    half = T_975[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def table(results: Sequence[Mapping[str, Mapping[str, Any]]], new: str) -> str:
    """Markdown."""
    ways = [way for way in results[0] if all(way in one for one in results)]
    scored = "f1_new" in results[0][ways[0]]
    head = ["way", "loss, new", "forgetting"] + (["F1, new", "F1, source"] if scored else []) + ["tokens/s"]
    rows = [head, ["---"] * len(head), *(row(way, results, new) for way in ways)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base", type=Path, help="a base of configs/si-base.toml, with EXTEND_DATA set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument(
        "--ways", nargs="+", default=[*WAYS, *BLENDS], choices=[*WAYS, *BLENDS], metavar="WAY"
    )
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    results, new = [], ""
    for seed in wanted.seeds:
        folder = wanted.folder.resolve() / f"seed-{seed}"
        study = (
            real_base(folder, wanted.base.resolve(), seed=seed, steps=wanted.steps)
            if wanted.base
            else made_world(folder, seed=seed, steps=wanted.steps)
        )
        ways = dict.fromkeys(["nothing", *wanted.ways])
        results.append(measured(study, ways))
        new = study.language
        store.write_text(wanted.folder / "table.md", table(results, new))
        print(table(results, new), flush=True)
    print(json.dumps({"threads": torch.get_num_threads(), "steps": wanted.steps, "seeds": wanted.seeds}))


if __name__ == "__main__":
    main()
