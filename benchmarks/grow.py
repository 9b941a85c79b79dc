"""First values for 30,000 new rows of a base of mBERT's shape: time and memory of each method.

    EXTEND_DATA=/path/to/data python benchmarks/grow.py [--whole]

mBERT's real vocabulary with random rows of its shape (119,547 x 768, float32), and the pieces that extend
learns from the Kinyarwanda text. Vectors of the pieces are trained once, then given. Every method runs in a
process of its own; its time is that of the call, its memory the peak above what the base and the vectors
take (Linux says it). The rows of `focus` are checked against FOCUS's formula in plain numpy with a full sort.

`--whole` measures the command instead: `extend grow` from the raw text to the published model, its
vocabulary learned in between, for a BertForPreTraining of mBERT's shape. Memory is the peak of its largest
process, and its ratio to the size of the grown weights.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

BASE_STD, HIDDEN, CHECKED = 0.02, 768, 200
CONFIG = "mbert_config.json"
METHODS = ("paper", "subword", "focus", "focus-many")
WHOLE = METHODS[:3]
MANY_ANCHORS = 20_000


def prepare(text: Path, vocabulary: Path, folder: Path, size: int) -> None:
    """Learn the pieces, segment them with the base's, and encode the text with all: files for the others."""
    from extend.corpus import CountingLimits, HeldOut, count_corpus
    from extend.tokenizer import (
        WordPieceKind,
        encode_batch,
        new_wordpiece_tokenizer,
        segment,
        word_splitter,
    )
    from extend.types import Vocabulary, VocabularyExtension
    from extend.wordpiece import learn_subwords

    base = Vocabulary(tuple(vocabulary.read_text(encoding="utf-8").split("\n")[:-1]))
    kind, tokenizer = WordPieceKind(), new_wordpiece_tokenizer(base.pieces)
    with tempfile.TemporaryDirectory() as counts:
        counted = count_corpus(
            [text],
            split=word_splitter(tokenizer),
            held_out=HeldOut(0, 1),
            directory=Path(counts, "counts"),
            limits=CountingLimits(processes=1),
        )
        known = [kind.parse(piece) for piece in base.pieces if not (piece[0] == "[" and piece[-1] == "]")]
        added = [kind.spell(subword) for subword in learn_subwords(counted.words, size=size, known=known)]
    extended = kind.extended(tokenizer, VocabularyExtension(base, tuple(added)))
    lines = text.read_text(encoding="utf-8").split("\n")
    ids = [line_ids for line_ids, _ in encode_batch(extended, lines)]
    np.save(folder / "ids.npy", np.array([piece for line in ids for piece in line], dtype=np.int32))
    np.save(folder / "ends.npy", np.cumsum([len(line) for line in ids]))
    facts = {
        "pieces": [*base.pieces, *added],
        "first_new": len(base),
        "segmentations": segment(tokenizer, added),
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def train(folder: Path) -> dict[str, Any]:
    """The pieces' vectors, and how many new pieces stay without."""
    from extend.vectors import train_piece_vectors

    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    ids, ends = np.load(folder / "ids.npy").tolist(), np.load(folder / "ends.npy").tolist()
    sequences = [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    first_new = facts["first_new"]
    measured, found = measure(
        lambda: train_piece_vectors(sequences, pieces=facts["pieces"], first_new=first_new, seed=1)
    )
    np.save(folder / "vectors.npy", found.vectors)
    present = found.present
    without = int((~present[first_new:]).sum())
    return {**measured, "without": without, "anchors": int(present[:first_new].sum()), "tokens": len(ids)}


def start_rows(folder: Path, method: str) -> dict[str, Any]:
    """One method on the base: seconds, memory, how the rows were made."""
    import torch

    from extend.initializers import INITIALIZERS

    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    first_new, segmentations = facts["first_new"], [tuple(ids) for ids in facts["segmentations"]]
    generator = torch.Generator().manual_seed(1)
    base = BASE_STD * torch.randn(first_new, HIDDEN, generator=generator)
    bias = 0.1 * torch.randn(first_new, generator=generator)
    name, given = method.removesuffix("-many"), {}
    if name == "focus":
        vectors = (
            many_anchors(len(facts["pieces"]), first_new)
            if name != method
            else np.load(folder / "vectors.npy")
        )
        given = {"vectors": torch.from_numpy(vectors)}
    initializer = INITIALIZERS[name](**given)
    unknown = facts["pieces"].index("[UNK]")
    measured, new = measure(lambda: initializer(base, bias, segmentations, generator, unknown=unknown))
    made: dict[str, int] = {}
    for origin in new.origins:
        made[origin.fallback or origin.method] = made.get(origin.fallback or origin.method, 0) + 1
    result = {**measured, "made": made}
    if name == "focus":
        result["difference"] = focus_difference(base.numpy(), new.rows.numpy(), vectors)
    return result


def many_anchors(pieces: int, first_new: int) -> npt.NDArray[np.float32]:
    """As if the base shared the script: all new pieces and 20,000 of the base have a vector, drawn from a
    normal. Nothing is near anything then, so that sparsemax has its hardest work."""
    drawn = np.random.default_rng(1)
    vectors = np.zeros((pieces, 100), dtype=np.float32)
    anchors = np.sort(drawn.choice(np.arange(1000, first_new), MANY_ANCHORS, replace=False))
    vectors[anchors] = drawn.normal(size=(MANY_ANCHORS, 100))
    vectors[first_new:] = drawn.normal(size=(pieces - first_new, 100))
    return vectors


def focus_difference(
    base: npt.NDArray[np.float32], rows: npt.NDArray[np.float32], vectors: npt.NDArray[np.float32]
) -> float:
    """The largest difference of 200 rows from Dobler and de Melo's formula: cosine, sparsemax, sum."""
    anchors = np.flatnonzero(vectors[: len(base)].any(axis=1))
    present = np.flatnonzero(vectors[len(base) :].any(axis=1))
    chosen = np.random.default_rng(2).choice(present, min(CHECKED, len(present)), replace=False)
    one, other = (unit(vectors[ids].astype(np.float64)) for ids in (len(base) + chosen, anchors))
    largest = 0.0
    for place, scores in zip(chosen, one @ other.T, strict=True):
        weights = sparsemax(scores)
        largest = max(largest, float(np.abs(weights @ base[anchors] - rows[place]).max()))
    return largest


def unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def sparsemax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Martins and Astudillo 2016, algorithm 1, with the full sort."""
    ordered = np.sort(scores)[::-1]
    above = np.cumsum(ordered) - 1
    support = int(np.flatnonzero(1 + np.arange(1, len(scores) + 1) * ordered > above + 1)[-1]) + 1
    return np.maximum(scores - above[support - 1] / support, 0)


def measure(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Seconds, and the peak in MiB above what the process held before."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, started = memory("VmRSS"), time.perf_counter()
    result = work()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "mib": (memory("VmHWM") - before) / 1024}, result


def memory(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(rf"^{field}:\s*(\d+) kB$", status, re.MULTILINE)[0])


def make_base(data: Path, folder: Path) -> dict[str, Any]:
    """A checkpoint of mBERT's shape and vocabulary with random weights."""
    import torch
    from transformers import BertConfig, BertForPreTraining

    from extend.tokenizer import new_wordpiece_tokenizer

    torch.manual_seed(1)
    config = BertConfig(**json.loads((data / "vocab" / CONFIG).read_text(encoding="utf-8")))
    BertForPreTraining(config).save_pretrained(folder)
    vocabulary = (data / "vocab" / "mbert_vocab.txt").read_text(encoding="utf-8")
    (folder / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    new_wordpiece_tokenizer(vocabulary.split("\n")[:-1]).save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return {"bytes": (folder / "model.safetensors").stat().st_size}


def whole(data: Path, folder: Path, methods: Sequence[str], size: int) -> None:
    """The command, a process a method; this process stays small, for its children start as its copies."""
    base = folder / "base"
    base.mkdir()
    run(base, "base")
    for method in methods:
        target = folder / method
        command = ["grow", "--lang", "rw", "--run", str(target), "--base", str(base), "--init", method]
        command += ["--corpus", str(data / "text" / "rw.txt"), "--set", f"vocab.size={size}", "--offline"]
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "extend.cli", *command, "--format", "json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"extend grow --init {method} failed: {os.waitstatus_to_exitcode(status)}")
        weights = (target / "grown" / "model.safetensors").stat().st_size
        seconds = json.loads((target / "grown" / "report.json").read_text(encoding="utf-8"))["seconds"]
        print(
            f"{method:10}  {time.perf_counter() - started:6.1f} s, {seconds:.1f} of them growing; "
            f"{used.ru_maxrss / 1024:.0f} MiB, {used.ru_maxrss * 1024 / weights:.2f} times the weights",
            flush=True,
        )
        shutil.rmtree(target)


def run(folder: Path, part: str) -> dict[str, Any]:
    """One part in a process of its own."""
    program = [sys.executable, __file__, "--part", part, "--folder", str(folder)]
    ended = subprocess.run(program, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def report(folder: Path, methods: Sequence[str], rounds: int) -> None:
    trained = run(folder, "train")
    print(
        f"vectors: {trained['seconds']:.1f} s, {trained['mib']:.0f} MiB for {trained['tokens']:,} pieces of "
        f"text; {trained['without']:,} new pieces without, {trained['anchors']:,} anchors"
    )
    for method in methods:
        runs = [run(folder, method) for _ in range(rounds)]
        seconds = statistics.median(one["seconds"] for one in runs)
        made = ", ".join(f"{count:,} {name}" for name, count in sorted(runs[0]["made"].items()))
        line = f"{method:10}  {seconds:6.2f} s  {max(one['mib'] for one in runs):6.0f} MiB  {made}"
        if "difference" in runs[0]:
            line += f"; {CHECKED} rows differ from the formula by {runs[0]['difference']:.1e} at most"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["base", "train", *METHODS], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--whole", action="store_true", help="the command, for paper, subword and focus")
    parser.add_argument("--size", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    given = parser.parse_args()
    data = Path(os.environ["EXTEND_DATA"])
    if given.part == "base":
        print(json.dumps(make_base(data, given.folder)))
        return
    if given.part:
        result = train(given.folder) if given.part == "train" else start_rows(given.folder, given.part)
        print(json.dumps(result))
        return
    with tempfile.TemporaryDirectory() as name:
        if given.whole:
            chosen = [method for method in given.methods if method in WHOLE]
            whole(data, Path(name), chosen, given.size)
            return
        prepare(data / "text" / "rw.txt", data / "vocab" / "mbert_vocab.txt", Path(name), given.size)
        report(Path(name), given.methods, given.rounds)


if __name__ == "__main__":
    main()
