"""Words a second of `extend ner-tag` beside the token-classification pipeline of transformers, on one core.

    python benchmarks/ner_tag.py [--text FILE] [--encoder FOLDER] [--lines 1000] [--rounds 3]

Both sides have the same encoder (a BERT) and the same linear head: ours as `extend ner-tag` runs it, theirs
as `--as-transformers` writes it. Before anything is timed the two must give every word the same tag; our
decoding forbids nothing here, since theirs does not. Timed, alternating, is text to entities: theirs with
`aggregation_strategy="first"`, one line at a time (its default) and in batches of 32. Lines have at most 600
characters: the pipeline fails on more than 512 pieces. Without `--encoder` a BERT of random weights is made
(3 layers of 192, or `--hidden`, `--layers`) with WordPieces learned from the text; without `--text` it is
`$EXTEND_DATA/text/si.txt`.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from transformers import BertConfig, BertForMaskedLM, pipeline
from transformers.utils import logging

from extend.hub import load_encoder
from extend.recipe.tagging import as_transformers, find_tagger, open_tagger
from extend.tokenizer import new_wordpiece_tokenizer, save_tokenizer
from extend.wordpiece import learn_subwords
from ner.features import FeatureSettings
from ner.saving import save_tagger
from ner.tagger import Tagger, TaggerSettings
from ner.tagging import EntityTagger, as_record, text_passage
from ner.tags import spans_of, tags_of

LABELS = ("LOC", "ORG", "PER")
LONGEST = 600


def main() -> None:
    options = parsed()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    with open(options.text, encoding="utf-8") as file:
        stripped = (line.strip() for line in file)
        lines = [line for line in stripped if 0 < len(line) <= LONGEST][: options.lines]
    words = sum(len(text_passage(line).words) for line in lines)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        encoder = options.encoder or new_encoder(folder / "encoder", lines, options)
        save_tagger(folder / "tagger", new_head(encoder), features=FeatureSettings(), encoder=encoder)
        found = find_tagger(folder / "tagger", encoder)
        as_transformers(found, folder / "exported")
        ours = open_tagger(found, device="cpu")
        theirs = pipeline("token-classification", model=str(folder / "exported"), device="cpu")
        left = compare(ours, theirs, lines)
        print(f"{words:,} words in {len(lines):,} lines; the same tag for every word but {left}")
        sides: dict[str, Callable[[], object]] = {
            "extend ner-tag": lambda: [as_record(one) for one in ours.tag(map(text_passage, lines))],
            "pipeline, line by line": lambda: theirs(lines, aggregation_strategy="first"),
            "pipeline, batches of 32": lambda: theirs(lines, aggregation_strategy="first", batch_size=32),
        }
        tell(alternated(sides, options.rounds), words)
    if left:
        sys.exit(f"tags differ on {left} words")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(os.environ.get("EXTEND_DATA", ".")) / "text/si.txt"
    parser.add_argument("--text", type=Path, default=default, help="one line a passage, UTF-8")
    parser.add_argument("--encoder", type=Path, help="a folder with a BERT")
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def new_encoder(directory: Path, lines: list[str], options: argparse.Namespace) -> Path:
    """A cased BERT of random weights whose vocabulary was learned from `lines`."""
    counts: dict[str, int] = {}
    for word in (word for line in lines for word in text_passage(line).words):
        counts[word] = counts.get(word, 0) + 1
    learned = learn_subwords(counts, size=8000, known=())
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    spelled = (f"##{one.text}" if one.continues else one.text for one in learned)
    pieces = list(dict.fromkeys([*special, *spelled]))
    save_tokenizer(new_wordpiece_tokenizer(pieces), directory, base=None)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.hidden // 64),
        intermediate_size=4 * options.hidden,
    )
    BertForMaskedLM(config).save_pretrained(directory)
    return directory


def new_head(encoder: Path) -> Tagger:
    """A linear head with large random weights: tags of every kind, and nothing forbidden."""
    size = int(load_encoder(encoder).config.hidden_size)
    head = Tagger(TaggerSettings(size, LABELS, head="linear", constrain="none"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        torch.nn.init.normal_(head.linear.weight)
    return head


def compare(ours: EntityTagger, theirs: Any, lines: list[str]) -> int:
    """Words whose tag differs; theirs is the one of the first piece."""
    passages = [text_passage(line) for line in lines]
    differing = 0
    for tagged in ours.tag(passages):
        pieces = {one["start"]: one["entity"] for one in theirs(tagged.passage.text or ".", ignore_labels=[])}
        raw = [pieces.get(start, "O") for start, _ in tagged.passage.bounds]
        repaired = tags_of(spans_of(raw), len(raw))
        differing += sum(mine != their for mine, their in zip(tagged.tags, repaired, strict=True))
    return differing


def alternated(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time of each side, round by round: what a shared machine hides on the clock."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            begun = time.process_time()
            run()
            seconds[name].append(time.process_time() - begun)
    return seconds


def tell(seconds: dict[str, list[float]], words: int) -> None:
    own = statistics.median(seconds["extend ner-tag"])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(
            f"{name:<24} {words / median:10,.0f} words/s   {median:6.2f} s"
            f" ({min(taken):.2f} to {max(taken):.2f})   {median / own:4.2f} x ours"
        )


if __name__ == "__main__":
    main()
