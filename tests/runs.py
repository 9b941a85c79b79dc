"""Run folders as the stages leave them, for tests of what reads them; the numbers are made up."""

import json
import math
from pathlib import Path
from typing import Any

from extend.store import write_json, write_text

SINHALA = [
    ("ශ්‍රී", ["[UNK]"], ["ශ්‍රී"]),
    ("ලංකාවේ", ["[UNK]"], ["ලංකා", "##වේ"]),
    ("ගුරුවරුන්", ["[UNK]"], ["ගුරු", "##වරුන්"]),
    ("කොළඹ", ["[UNK]"], ["කොළඹ"]),
]
UYGHUR = [
    ("ئۇيغۇرچە", ["ئۇ", "##ي", "##غ", "##ۇر", "##چ", "##ە"], ["ئۇيغۇر", "##چە"]),
    ("مەكتەپلەردە", ["[UNK]"], ["مەكتەپ", "##لەر", "##دە"]),
    ("كىتابلىرىمىز", ["كى", "##تاب", "##لى", "##رى", "##م", "##ىز"], ["كىتاب", "##لىرىمىز"]),
    ("ئۈرۈمچى", ["[UNK]"], ["ئۈرۈمچى"]),
]
GEORGIAN = [
    ("საქართველოს", ["საქართველო", "##ს"], ["საქართველოს"]),
    ("თბილისში", ["თ", "##ბ", "##ილ", "##ისში"], ["თბილის", "##ში"]),
    ("მასწავლებლები", ["მას", "##წ", "##ა", "##ვლ", "##ებ", "##ლები"], ["მასწავლებლ", "##ები"]),
]
WORDS = {"si": SINHALA, "ug": UYGHUR, "ka": GEORGIAN}
NAMES = {
    "si": ("Sinhala", "සිංහල"),
    "ug": ("Uyghur", "ئۇيغۇرچە"),
    "ka": ("Georgian", "ქართული"),
}


def make_run(directory: Path, language: str = "si") -> Path:
    """A whole run folder: every file that a report may read."""
    name, autonym = NAMES[language]
    write_text(
        directory / "run.toml",
        f'lang = "{language}"\nseed = 7\ncorpus = ["/home/somebody/private/text"]\n\n[vocab]\nsize = 8000\n'
        '\n[pretrain]\nsteps = 2000\nnsp = false\n\n[ner]\nsource = "en"\nseeds = 5\n',
    )
    write_json(
        directory / "manifest.json",
        {
            "language": language,
            "language_name": name,
            "autonym": autonym,
            "base": "example/base-multilingual",
            "corpus_sha256": "ab" * 32,
            "seed": 7,
            "versions": {"python": "3.11.9", "torch": "2.13.0", "transformers": "5.23.0"},
            "stages": {
                "vocab": {"settings": {"lang": language}, "sha256": {"vocab/added.txt": "cd" * 32}},
                "grow": {"settings": {}, "base_revision": "0123456789abcdef0123456789abcdef01234567"},
            },
        },
    )
    make_vocabulary(directory / "vocab", WORDS[language])
    make_growth(directory / "grown", WORDS[language])
    make_pretraining(directory / "pretrain", language)
    write_json(directory / "ner" / "zero-shot" / "results.json", ner_results("zero-shot", language))
    write_json(directory / "ner" / "supervised" / "results.json", ner_results("supervised", language))
    write_json(
        directory / "encoders.json",
        {
            "base": {"unk_rate": 0.613, "fertility": 1.31, "mlm_loss": 2.41, "mlm_loss_per_word": 3.1},
            "extended": {"unk_rate": 0.004, "fertility": 1.42, "mlm_loss": 3.92, "mlm_loss_per_word": 5.5},
            "bilingual": {"unk_rate": 0.003, "fertility": 1.38, "mlm_loss": 4.75, "mlm_loss_per_word": 6.6},
        },
    )
    return directory


def make_vocabulary(directory: Path, words: list[tuple[str, list[str], list[str]]]) -> None:
    write_json(
        directory / "report.json",
        {
            "added": 8000,
            "base_size": 119_547,
            "corpus": {
                "lines": 48_211,
                "words": 612_907,
                "distinct_words": 80_114,
                "bytes": 9_412_331,
                "sha256": "ab" * 32,
            },
            "held_out": {
                "base": {"fertility": 1.31, "unk_rate": 0.613},
                "extended": {"fertility": 1.42, "unk_rate": 0.004},
            },
            "drift": {"sample": 10_000, "words_changed": 0.0012, "words_newly_unk": 0.0},
            "unused": 31,
            "seconds": 21.4,
        },
    )
    pieces = list(dict.fromkeys(piece for _, _, after in words for piece in after))
    write_text(directory / "added.txt", "".join(f"{piece}\n" for piece in pieces))
    examples = [
        {"word": word, "count": 4000 // (rank + 1), "before": before, "after": after}
        for rank, (word, before, after) in enumerate(words)
    ]
    write_json(directory / "examples.json", examples)


def make_growth(directory: Path, words: list[tuple[str, list[str], list[str]]]) -> None:
    rows: list[dict[str, Any]] = []
    pieces = ["[PAD]", "[UNK]"]
    for _, before, after in words:
        known = [piece for piece in before if piece != "[UNK]"]
        for piece in after:
            pieces += [source for source in known if source not in pieces]
            row = {"piece": piece, "id": 119_547 + len(rows), "method": "subword"}
            row |= {"sources": [[pieces.index(source), round(1 / len(known), 3)] for source in known]}
            row |= {"fallback": None if known else "mean", "why": None if known else "every piece is unknown"}
            rows.append(row)
    write_text(directory / "vocab.txt", "".join(f"{piece}\n" for piece in pieces))
    write_text(directory / "rows.jsonl", "".join(json_line(row) for row in rows))
    write_json(
        directory / "report.json",
        {"initializer": "subword", "added": len(rows), "by_method": {}, "seconds": 1.2},
    )


def make_pretraining(directory: Path, language: str, *, steps: int = 2000, every: int = 20) -> None:
    lines = []
    for step in range(every, steps + 1, every):
        decay = math.exp(-step / (0.3 * steps))
        loss = 3.7 + 3.9 * decay + 0.16 * math.sin(step * 1.7) + 0.1 * math.sin(step * 0.31)
        lines.append(
            {
                "step": step,
                "steps": steps,
                "stage": "new-rows" if step <= steps // 3 else "all",
                "loss": loss,
                "mlm_loss": loss,
                "nsp_loss": None,
                "learning_rate": 1e-3,
                "grad_norm": 0.8,
                "tokens": step * 4096,
                "tokens_per_second": 21_300.0,
                "seconds": step * 0.19,
            }
        )
    write_text(directory / "metrics.jsonl", "".join(json_line(line) for line in lines))
    evaluations = [
        {"step": step, "held_out": held_out(language, step / steps)} for step in range(0, steps + 1, 250)
    ]
    write_text(directory / "held_out.jsonl", "".join(map(json_line, evaluations)))
    write_text(directory / "events.jsonl", "".join(map(json_line, EVENTS)))
    write_json(
        directory / "report.json",
        {
            "steps": steps,
            "tokens": steps * 4096,
            "tokens_per_second": 21_300.4,
            "seconds": steps * 0.19,
            "resumed_from": 0,
            "held_out": held_out(language, 1.0),
            "base_held_out": {language: loss_entry(2.407), "en": loss_entry(3.405), "ar": loss_entry(3.0)},
            "forgetting": {
                "en": {"before": 3.409, "now": 3.412, "change": 0.003, "standard_error": 0.004},
                "ar": {"before": 3.021, "now": 3.301, "change": 0.28, "standard_error": 0.011},
            },
            "ended": None,
            "left_out": 1,
            "precision": "bf16",
            "processes": 1,
            "devices": ["cpu"],
            "micro_batch": 32,
            "reproducible": True,
        },
    )


EVENTS = [
    {
        "step": 412,
        "event": "spike",
        "at": 412,
        "loss": 9.31,
        "mean": 4.02,
        "deviation": 0.11,
        "samples": [13_152, 13_183],
        "action": "skip",
    },
    {"step": 700, "event": "left-out", "why": "not finite", "samples": [22_368, 22_399]},
]


def held_out(language: str, share: float) -> dict[str, Any]:
    """Held-out losses after this share of the training: the new language falls, an old one rises."""
    return {
        language: loss_entry(3.921 + 4.4 * (math.exp(-4 * share) - math.exp(-4))),
        "en": loss_entry(3.409 + 0.003 * share),
        "ar": loss_entry(3.021 + 0.28 * share),
    }


def loss_entry(loss: float) -> dict[str, Any]:
    perplexity = math.exp(loss)
    return {
        "mlm_loss": loss,
        "perplexity": perplexity,
        "standard_error": 0.027,
        "blocks": 512,
        "predictions": 9700,
    }


def ner_results(protocol: str, language: str) -> dict[str, Any]:
    target = {"base": 3.6, "extended": 43.0, "bilingual": 31.2}
    if protocol == "supervised":
        target = {"base": 38.5, "extended": 61.8, "bilingual": 57.0}
    source = {"base": 82.1, "extended": 81.9, "bilingual": 74.4}
    languages = {"en": source, language: target} if protocol == "zero-shot" else {language: target}
    return {
        "schema": 1,
        "protocol": protocol,
        "source": "en",
        "labels": ["PER", "LOC", "ORG"],
        "data": {
            code: {"test": {"sha256": "ef" * 32, "sentences": 900, "entities": 1020}} for code in languages
        },
        "encoders": {
            encoder: {code: score(means[encoder]) for code, means in languages.items()} for encoder in target
        },
        "differences": {
            code: {
                encoder: {
                    "against": "base",
                    "f1": round(means[encoder] - means["base"], 4),
                    "p_holm": 0.0004 if code == language else 0.7,
                    "identical": False,
                    "ci95": [means[encoder] - means["base"] - 2.6, means[encoder] - means["base"] + 2.7],
                }
                for encoder in ("extended", "bilingual")
            }
            for code, means in languages.items()
        },
        "warnings": [{"name": "W-LEAK", "text": f"{language} test: 2 sentences are in the training set too"}],
        "seconds": 312.5,
    }


def score(mean: float) -> dict[str, Any]:
    f1 = [round(mean + shift, 2) for shift in (-1.4, -0.6, 0.1, 0.7, 1.2)]
    return {
        "f1_mean": mean,
        "f1_std": 1.04,
        "f1": f1,
        "ci95": [max(0.0, mean - 2.7), min(100.0, mean + 2.7)],
        "strict_f1_mean": mean,
        "illegal": 0,
        "unk_rate": 0.02,
        "fertility": 1.6,
        "collapsed": 0,
        "errors": {"type": 41, "boundary": 73, "missed": 120, "spurious": 31},
        "per_type": {
            label: {"precision": mean + 1.0, "recall": mean - 1.0, "f1": mean, "support": 340}
            for label in ("PER", "LOC", "ORG")
        },
    }


def json_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
