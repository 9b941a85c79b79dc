"""Learning the pieces a base lacks: extend beside `tokenizers`' WordPieceTrainer and SentencePiece.

    EXTEND_DATA=/path/to/data python benchmarks/vocab.py

Every side reads the same file of counted lines and ends with the pieces that mBERT's vocabulary lacks; each
run is a process of its own, the sides in turn. Time is from the first byte read to the last piece, without
imports; memory is the process's peak, imports included. All pieces are then judged on the same held-out
lines, by `tokenizers`' own WordPiece over mBERT's vocabulary and the new pieces.
"""

import argparse
import hashlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

SIZES = (5_000, 10_000, 30_000)
WANTED = {5_000: 0.986, 10_000: 0.990, 30_000: 0.9957}
CANDIDATES = 70_000
PARTS = ("counting", "learning")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def by_extend(files: Sequence[Path], vocabulary: Path, size: int) -> tuple[list[str], dict[str, float]]:
    """extend's own counting and learning."""
    from extend.corpus import CountingLimits, HeldOut, count_corpus
    from extend.tokenizer import SPECIALS, WordPieceKind, new_wordpiece_tokenizer, word_splitter
    from extend.wordpiece import learn_subwords

    kind, split = WordPieceKind(), word_splitter(new_wordpiece_tokenizer(SPECIALS))
    shard = int(os.environ.get("SHARD_BYTES", 64 << 20))
    limits = CountingLimits(processes=int(os.environ.get("PROCESSES", "2")), shard_bytes=shard)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counts = count_corpus(
            files, split=split, held_out=HeldOut(0, 1), directory=Path(folder, "counts"), limits=limits
        )
    counted = time.perf_counter()
    pieces = vocabulary.read_text(encoding="utf-8").split("\n")[:-1]
    known = [kind.parse(piece) for piece in pieces if not (piece[0] == "[" and piece[-1] == "]")]
    learned = learn_subwords(counts.words, size=size, known=known)
    ended = time.perf_counter()
    seconds = {"counting": counted - started, "learning": ended - counted, "seconds": ended - started}
    return [kind.spell(subword) for subword in learned], seconds


def by_tokenizers(files: Sequence[Path], vocabulary: Path, size: int) -> tuple[list[str], dict[str, float]]:
    """WordPieceTrainer to 70,000 pieces with mBERT's rules; those that mBERT lacks, in its order."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=CANDIDATES, special_tokens=list(SPECIALS), show_progress=False
    )
    started = time.perf_counter()
    tokenizer.train([str(path) for path in files], trainer)
    base = set(vocabulary.read_text(encoding="utf-8").split("\n"))
    in_order = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    pieces = [piece for piece, _ in in_order if piece not in base and piece not in SPECIALS][:size]
    return pieces, {"seconds": time.perf_counter() - started}


def by_sentencepiece(
    files: Sequence[Path], vocabulary: Path, size: int
) -> tuple[list[str], dict[str, float]]:
    """As the EXTEND release: a unigram vocabulary of `size` - 256, spelt as WordPieces, filtered."""
    import io

    import sentencepiece

    written = io.BytesIO()
    started = time.perf_counter()
    sentencepiece.SentencePieceTrainer.train(
        input=",".join(map(str, files)),
        model_writer=written,
        vocab_size=size - 256,
        model_type="unigram",
        normalization_rule_name="identity",
        input_sentence_size=2_000_000,
        shuffle_input_sentence=True,
        bos_id=-1,
        eos_id=-1,
        hard_vocab_limit=False,
        num_threads=2,
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    base = set(vocabulary.read_text(encoding="utf-8").split("\n"))
    pieces = [model.id_to_piece(index) for index in range(1, model.get_piece_size())]
    spelt = [piece[1:] if piece[0] == "▁" else f"##{piece}" for piece in pieces if piece != "▁"]
    return [piece for piece in dict.fromkeys(spelt) if piece not in base], {
        "seconds": time.perf_counter() - started
    }


SIDES = {"extend": by_extend, "tokenizers": by_tokenizers, "sentencepiece": by_sentencepiece}


def run(side: str, files: Sequence[Path], vocabulary: Path, size: int, **environment: str) -> dict[str, Any]:
    """One side in a process of its own: its pieces, seconds, and peak memory in MiB."""
    arguments = [
        sys.executable,
        __file__,
        "--side",
        side,
        "--size",
        str(size),
        "--vocabulary",
        str(vocabulary),
    ]
    process = subprocess.run(
        [*arguments, *map(str, files)],
        capture_output=True,
        check=True,
        env={**os.environ, "RAYON_NUM_THREADS": "2", **environment},
    )
    result: dict[str, Any] = json.loads(process.stdout)
    return result


def one_side(side: str, files: Sequence[Path], vocabulary: Path, size: int) -> None:
    pieces, seconds = SIDES[side](files, vocabulary, size)
    print(json.dumps({"pieces": pieces, "peak_mib": peak_kib() / 1024, **seconds}))


def peak_kib() -> int:
    """Peak resident memory since this program began; `ru_maxrss` would count what started it, too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)[0])


def fertility(pieces: Iterable[str], vocabulary: Path, lines: Sequence[str]) -> float:
    """Pieces a word of `lines`, by `tokenizers`' WordPiece over mBERT's vocabulary and `pieces`."""
    from tokenizers import models, normalizers, pre_tokenizers

    base = vocabulary.read_text(encoding="utf-8").split("\n")[:-1]
    ids = {piece: index for index, piece in enumerate(dict.fromkeys([*base, *pieces]))}
    model = models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100)
    normalize = normalizers.BertNormalizer(lowercase=False, strip_accents=False).normalize_str
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    words = [word for line in lines for word, _ in split(normalize(line))]
    return sum(len(model.tokenize(word)) for word in words) / len(words)


def compare(files: Sequence[Path], vocabulary: Path, size: int, rounds: int, label: str) -> Mapping[str, Any]:
    """Both sides in turn; prints medians and the ratio. Returns the last pieces of each."""
    found: dict[str, list[dict[str, Any]]] = {"extend": [], "tokenizers": []}
    for number in range(rounds):
        for side in sorted(found, reverse=bool(number % 2)):
            found[side].append(run(side, files, vocabulary, size))
    print(f"\n{label}, {size:,} pieces, medians of {rounds} runs")
    seconds = {side: statistics.median(one["seconds"] for one in runs) for side, runs in found.items()}
    peaks = {side: max(one["peak_mib"] for one in runs) for side, runs in found.items()}
    for side in found:
        print(f"  {side:10}  {seconds[side]:6.2f} s  {peaks[side]:6.0f} MiB")
    faster, smaller = (each["extend"] / each["tokenizers"] for each in (seconds, peaks))
    print(f"  ratio       {faster:6.3f} (wanted: 0.5), memory {smaller:.3f} (wanted: 1)")
    parts = {part: statistics.median(one[part] for one in found["extend"]) for part in PARTS}
    print("  extend's " + ", ".join(f"{part} {took:.2f} s" for part, took in parts.items()))
    return {side: runs[-1]["pieces"] for side, runs in found.items()}


def one_result(train: Path, vocabulary: Path, folder: Path) -> None:
    """The same pieces whatever the number of processes, the order and cut of the files, and the hash seed."""
    lines = train.read_text(encoding="utf-8").split("\n")[:-1]
    digests = set()
    cuts = (1, 3, 7)
    for index, parts in enumerate(cuts):
        order = list(range(parts))
        random.Random(index).shuffle(order)
        files = [folder / f"{name}-{parts}.txt" for name in order]
        for name, path in enumerate(files):
            path.write_text("".join(f"{line}\n" for line in lines[name::parts]), encoding="utf-8")
        for processes, seed, shard in (("1", "1", 64 << 20), ("2", "2", 1 << 20), ("2", "3", 300_000)):
            given = {"PROCESSES": processes, "PYTHONHASHSEED": seed, "SHARD_BYTES": str(shard)}
            pieces = run("extend", files[::-1] if index else files, vocabulary, 30_000, **given)["pieces"]
            digests.add(hashlib.sha256("\n".join(pieces).encode()).hexdigest())
    print(
        f"\n{len(digests)} distinct sha256 of the pieces over {3 * len(cuts)} runs (processes 1 and 2, three "
        "cuts and orders of the files, three shard sizes, three hash seeds)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--size", type=int, default=30_000)
    parser.add_argument("--vocabulary", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sentencepiece", action="store_true", help="measure SentencePiece too (a minute)")
    parser.add_argument("files", nargs="*", type=Path)
    given = parser.parse_args()
    if given.side:
        one_side(given.side, given.files, given.vocabulary, given.size)
        return
    data = Path(os.environ["EXTEND_DATA"])
    vocabulary = data / "vocab" / "mbert_vocab.txt"
    with tempfile.TemporaryDirectory() as name:
        measure(data / "text" / "rw.txt", vocabulary, Path(name), given)


def measure(text: Path, vocabulary: Path, folder: Path, given: argparse.Namespace) -> None:
    from extend.corpus import find_held_out, read_batches

    rule = find_held_out(read_batches([text]), share=0.02, least=200, seed=1)
    lines = [line for batch in read_batches([text]) for line in batch.texts]
    mask = rule.mask(lines)
    held_out = [line for line, held in zip(lines, mask, strict=True) if held]
    counted = [line for line, held in zip(lines, mask, strict=True) if not held]
    train, ten = folder / "train.txt", folder / "ten.txt"
    train.write_text("".join(f"{line}\n" for line in counted), encoding="utf-8")
    copies = counted * 10
    random.Random(1).shuffle(copies)
    ten.write_text("".join(f"{line}\n" for line in copies), encoding="utf-8")
    print(f"{text.name}: {len(counted):,} counted lines, {len(held_out):,} held out")
    pieces = compare([train], vocabulary, 30_000, given.rounds, "one copy")
    compare([ten], vocabulary, 30_000, given.rounds, "ten copies, lines shuffled")
    print(f"\npieces a held-out word (mBERT alone {fertility((), vocabulary, held_out):.4f})")
    for size in SIZES:
        ours = run("extend", [train], vocabulary, size)["pieces"]
        mine = fertility(ours, vocabulary, held_out)
        theirs = fertility(pieces["tokenizers"][:size], vocabulary, held_out)
        line = f"  {size:6,}: extend {mine:.4f}, tokenizers {theirs:.4f}, ratio {mine / theirs:.4f}"
        line += f" (wanted: {WANTED[size]})"
        if given.sentencepiece:
            other = run("sentencepiece", [train], vocabulary, size)
            line += (
                f", SentencePiece then filter {fertility(other['pieces'], vocabulary, held_out):.4f} "
                f"with {len(other['pieces']):,} new ones in {other['seconds']:.0f} s"
            )
        print(line, flush=True)
    print("\ngrowth of extend with the text")
    for times in (1, 2, 4, 8):
        (folder / "grown.txt").write_text(
            "".join(f"{line}\n" for line in copies[: times * len(counted)]), "utf-8"
        )
        one = run("extend", [folder / "grown.txt"], vocabulary, 30_000)
        print(f"  {times} x: counting {one['counting']:.2f} s, learning {one['learning']:.2f} s")
    one_result(train, vocabulary, folder)


if __name__ == "__main__":
    main()
