"""Small inputs for tests of the command line: a tiny base, a corpus in a new script, two NER sets."""

import random
from pathlib import Path

from tests.models import tiny_checkpoint

GEORGIAN = "აბგდევზთ"
LATIN = "abcdefgh"
QUICK = (
    "--set", "vocab.held_out_lines=40",
    "--set", "pretrain.warmup_steps=2",
    "--set", "pretrain.length=16",
    "--set", "pretrain.batch_size=4",
    "--set", "pretrain.save_every=5",
    "--set", "ner.epochs=2",
    "--set", "ner.hidden_size=8",
)  # fmt: skip


def make_inputs(directory: Path) -> None:
    """`base/`, `ka.txt`, `en.txt` and `LANG.SPLIT.conll` in `directory`; the same bytes every time."""
    tiny_checkpoint(directory / "base")
    for language, letters in (("ka", GEORGIAN), ("en", LATIN)):
        draw = random.Random(language)
        words = ["".join(draw.choices(letters, k=draw.randint(2, 5))) for _ in range(120)]
        lines = [" ".join(draw.choices(words, k=8)) for _ in range(400)]
        (directory / f"{language}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for split, count in (("train", 40), ("test", 20)):
            text = "".join(_sentence(draw, letters) for _ in range(count))
            (directory / f"{language}.{split}.conll").write_text(text, encoding="utf-8")


def _sentence(draw: random.Random, letters: str) -> str:
    """Names are made of the first three letters, other words of the rest."""
    rows = []
    for _ in range(6):
        named = draw.random() < 0.3
        word = "".join(draw.choices(letters[:3] if named else letters[3:], k=4))
        rows.append(f"{word}\t{'B-PER' if named else 'O'}\n")
    return "".join(rows) + "\n"
