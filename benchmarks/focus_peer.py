"""FOCUS beside its authors' package deepfocus 1.0.1: time, memory, rows left random, and the rows themselves.

    make deepfocus
    EXTEND_DATA=/path/to/data python benchmarks/focus_peer.py

The work: a whole WordPiece vocabulary that the trainer of `tokenizers` learns from the Kinyarwanda text
(pieces that occur twice), started from random rows of mBERT's shape (119,547 x 768, float32) with mBERT's
real pieces. Both sides cut the same text into pieces, train vectors of 100 dimensions on it for 3 epochs,
and make the rows; and again with their vectors cached. They take turns, each time in a process of its own,
deepfocus in the environment `--peer` with as many processes and threads as it wants, ours with one. Seconds
are those of the work, without imports and without the base, on the clock and of the processors; memory is
the peak of the whole process (Linux says it). In the end both make rows from deepfocus's own vectors, and
what both define is compared.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from grow import BASE_STD, HIDDEN, memory

SPECIAL = {role: f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
PARTS = ("deepfocus", "deepfocus-same", "extend", "extend-same")


def prepare(data: Path, folder: Path) -> None:
    """Both tokenizers, the base's rows, and which pieces are new: files for the others."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    base = (data / "vocab" / "mbert_vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    learned = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    source = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(base)}, unk_token="[UNK]"))
    for tokenizer in (learned, source):
        tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=False, lowercase=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=1 << 20, min_frequency=2, special_tokens=list(SPECIAL.values()), show_progress=False
    )
    learned.train([str(data / "text" / "rw.txt")], trainer)
    for name, tokenizer in (("source", source), ("target", learned)):
        tokenizer.add_special_tokens(list(SPECIAL.values()))
        tokenizer.save(str(folder / f"{name}.json"))
    pieces = sorted(learned.get_vocab(), key=learned.get_vocab().__getitem__)
    known = set(base)
    added = [piece for piece in pieces if piece not in known]
    (folder / "facts.json").write_text(json.dumps({"base": base, "added": added}), encoding="utf-8")
    drawn = np.random.default_rng(1).normal(scale=BASE_STD, size=(len(base), HIDDEN))
    np.save(folder / "base.npy", drawn.astype(np.float32))


def theirs(folder: Path, text: Path, *, same: bool) -> dict[str, Any]:
    """deepfocus, as its README calls it; `same` writes its vectors and rows down for ours."""
    import torch
    from deepfocus import FOCUS
    from transformers import PreTrainedTokenizerFast

    names = {f"{role}_token": token for role, token in SPECIAL.items()}
    target, source = (
        PreTrainedTokenizerFast(tokenizer_file=str(folder / f"{name}.json"), **names)
        for name in ("target", "source")
    )
    base = torch.from_numpy(np.load(folder / "base.npy"))
    measured, rows = measure(
        lambda: FOCUS(target, source, base, target_training_data_path=str(text), verbosity="silent")
    )
    if not same:
        return measured
    import fasttext

    (path,) = (folder / "cache" / "deepfocus" / "fasttext").glob("*.bin")
    model, facts = fasttext.load_model(str(path)), read_facts(folder)
    words, place = set(model.words), target.get_vocab()
    vectors = np.zeros((len(facts["base"]) + len(facts["added"]), model.get_dimension()), dtype=np.float32)
    for index, piece in enumerate([*facts["base"], *facts["added"]]):
        if piece in words and piece in place:
            vectors[index] = model[piece]
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "rows.npy", rows.numpy()[[place[piece] for piece in facts["added"]]])
    return {**measured, **made(vectors, facts), "cache": size_of(folder / "cache" / "deepfocus")}


def made(vectors: Any, facts: dict[str, Any]) -> dict[str, int]:
    """deepfocus draws every row whose piece has no vector."""
    present = vectors.any(axis=1)
    focus = int(present[len(facts["base"]) :].sum())
    return {"focus": focus, "random": len(facts["added"]) - focus, "anchors": int(present.sum()) - focus}


def ours(folder: Path, text: Path) -> dict[str, Any]:
    """The pieces of the text, vectors of the pieces unless they are cached, the rows."""
    import torch

    from extend.initializers import Focus
    from extend.tokenizer import WordPieceKind, new_wordpiece_tokenizer, segment
    from extend.types import Vocabulary, VocabularyExtension
    from extend.vectors import Cbow, cached_vectors, train_piece_vectors, vectors_key

    facts = read_facts(folder)
    base, added = Vocabulary(tuple(facts["base"])), tuple(facts["added"])
    tokenizer = new_wordpiece_tokenizer(base.pieces)
    rows = torch.from_numpy(np.load(folder / "base.npy"))
    cache = folder / "ours"

    def work() -> Any:
        extended = WordPieceKind().extended(tokenizer, VocabularyExtension(base, added))

        def train() -> Any:
            pieces = (*base.pieces, *added)
            sequences = list(encoded(extended, text))
            return train_piece_vectors(sequences, pieces=pieces, first_new=len(base), seed=1)

        key = vectors_key(corpus=text.name, tokenizer="", first_new=len(base), seed=1, cbow=Cbow())
        vectors = torch.from_numpy(cached_vectors(cache, key, train).vectors)
        return Focus(vectors)(
            rows,
            torch.zeros(len(base)),
            segment(tokenizer, added),
            torch.Generator().manual_seed(1),
            unknown=base.ids["[UNK]"],
        )

    measured, new = measure(work)
    counted = {"focus": 0, "subword": 0, "random": 0}
    for origin in new.origins:
        name = origin.fallback or origin.method
        counted["random" if name == "normal" else name] += 1
    return {**measured, **counted, "cache": size_of(cache)}


def encoded(tokenizer: Any, text: Path) -> Iterator[Any]:
    from extend.tokenizer import encode_batch

    lines = text.read_text(encoding="utf-8").split("\n")
    for start in range(0, len(lines), 2000):
        for ids, _ in encode_batch(tokenizer, lines[start : start + 2000]):
            yield np.array(ids, dtype=np.int32)


def ours_from_theirs(folder: Path) -> dict[str, Any]:
    """Our rows from deepfocus's vectors, held against deepfocus's rows."""
    import torch

    from extend.initializers import Focus

    facts, vectors = read_facts(folder), torch.from_numpy(np.load(folder / "vectors.npy"))
    base = torch.from_numpy(np.load(folder / "base.npy"))
    measured, new = measure(
        lambda: Focus(vectors)(
            base,
            torch.zeros(len(base)),
            [()] * len(facts["added"]),
            torch.Generator().manual_seed(1),
            unknown=facts["base"].index("[PAD]"),  # deepfocus takes the unknown piece for an anchor, too
        )
    )
    both = [place for place, origin in enumerate(new.origins) if origin.fallback is None]
    difference = np.abs(new.rows.numpy()[both] - np.load(folder / "rows.npy")[both]).max()
    return {**measured, "compared": len(both), "difference": float(difference)}


def read_facts(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return facts


def measure(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Seconds of the work, those of the processors (children's too), and the peak of the process in MiB."""
    started, used = time.perf_counter(), sum(os.times()[:4])
    result = work()
    seconds, busy = time.perf_counter() - started, sum(os.times()[:4]) - used
    return {"seconds": seconds, "busy": busy, "mib": memory("VmHWM") / 1024}, result


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def run(python: Path, part: str, folder: Path, text: Path) -> dict[str, Any]:
    """One part in a process of its own, with caches in the folder."""
    caches = {"XDG_CACHE_HOME": str(folder / "cache"), "HF_HOME": str(folder / "cache" / "hf")}
    program = [str(python), __file__, "--part", part, "--folder", str(folder), "--text", str(text)]
    ended = subprocess.run(
        program,
        env={**os.environ, **caches, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


def report(peer: Path, folder: Path, text: Path, rounds: int) -> None:
    facts, mine = read_facts(folder), Path(sys.executable)
    print(f"{len(facts['added']):,} new pieces", flush=True)
    sides = {"deepfocus": peer, "extend": mine}
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for cache in ("cache", "ours"):
            shutil.rmtree(folder / cache, ignore_errors=True)
        for vectors in ("trained", "cached"):
            for side, python in sides.items():
                found.setdefault((side, vectors), []).append(run(python, side, folder, text))
    for vectors in ("trained", "cached"):
        clock, busy = (
            {side: middle(found[side, vectors], name) for side in sides} for name in ("seconds", "busy")
        )
        peaks = {side: max(one["mib"] for one in found[side, vectors]) for side in sides}
        for side in sides:
            print(
                f"vectors {vectors:8} {side:10} {clock[side]:6.1f} s on the clock, {busy[side]:6.1f} s of "
                f"processors  {peaks[side]:6.0f} MiB"
            )
        ratios = [table["extend"] / table["deepfocus"] for table in (clock, busy, peaks)]
        print(f"vectors {vectors:8} ratios     " + ", ".join(f"{ratio:.2f}" for ratio in ratios), flush=True)
    same = run(peer, "deepfocus-same", folder, text)
    last = found["extend", "cached"][-1]
    for side, one in (("deepfocus", same), ("extend", last)):
        counts = ", ".join(
            f"{one[name]:,} {name}" for name in ("focus", "subword", "random", "anchors") if name in one
        )
        print(f"{side:10} {counts}; cache {one['cache'] / 1e6:.1f} MB")
    compared = run(mine, "extend-same", folder, text)
    print(
        f"from the same vectors, {compared['compared']:,} rows: {compared['difference']:.1e} apart at most; "
        f"ours in {compared['seconds']:.1f} s"
    )


def middle(runs: Sequence[dict[str, Any]], name: str) -> float:
    return statistics.median(one[name] for one in runs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, default=Path(".venv-deepfocus/bin/python"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--text", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        name, _, same = given.part.partition("-")
        if name == "deepfocus":
            print(json.dumps(theirs(given.folder, given.text, same=bool(same))))
        else:
            print(json.dumps(ours_from_theirs(given.folder) if same else ours(given.folder, given.text)))
        return
    if not given.peer.is_file():
        parser.error(f"there is no {given.peer}: make deepfocus, or give another --peer")
    data = Path(os.environ["EXTEND_DATA"]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        prepare(data, Path(folder))
        report(given.peer.absolute(), Path(folder), data / "text" / "rw.txt", given.rounds)


if __name__ == "__main__":
    main()
