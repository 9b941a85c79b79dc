"""A tiny encoder with random weights, and a made NER task that a head on it can learn."""

import random
from pathlib import Path

from tests.models import LETTERS, SPECIAL_PIECES, tiny_checkpoint

FILLERS = [f"w{letter}" for letter in "abcdefghij"]
NAMES = {"PER": ["anna", "boris", "clara", "dan"], "LOC": ["lima", "oslo", "paris", "rome"]}


def tiny_encoder(
    directory: Path, *, architecture: str = "bert-mlm", layers: int = 1, extra: tuple[str, ...] = ()
) -> Path:
    """An encoder of width 32 whose vocabulary has the words of the made task, letters and `extra` pieces."""
    pieces = [*SPECIAL_PIECES, *FILLERS, *(name for names in NAMES.values() for name in names)]
    pieces += [*LETTERS, *(f"##{letter}" for letter in LETTERS), *extra]
    return tiny_checkpoint(directory, architecture=architecture, pieces=pieces, layers=layers)


def made_sentences(count: int, *, seed: int) -> list[list[tuple[str, str]]]:
    """Fillers with names of one or two words among them, tagged in IOB2."""
    draw = random.Random(seed)
    sentences = []
    for _ in range(count):
        rows = [(draw.choice(FILLERS), "O") for _ in range(draw.randint(1, 4))]
        for label in draw.sample(sorted(NAMES), draw.randint(0, 2)):
            first, second = draw.sample(NAMES[label], 2)
            rows.append((first, f"B-{label}"))
            if draw.random() < 0.3:
                rows.append((second, f"I-{label}"))
            rows += [(draw.choice(FILLERS), "O") for _ in range(draw.randint(1, 3))]
        sentences.append(rows)
    return sentences


def write_conll(path: Path, sentences: list[list[tuple[str, str]]]) -> Path:
    path.write_text("".join("".join(f"{w}\t{t}\n" for w, t in rows) + "\n" for rows in sentences), "utf-8")
    return path
