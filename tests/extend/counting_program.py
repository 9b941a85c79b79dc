"""Counts a folder of text files and says what came out: the process that tests kill, starve and measure.

python -m tests.extend.counting_program CORPUS COUNTS MEMORY PROCESSES SHARD_BYTES [FILE_BYTES]
"""

import json
import resource
import sys
from pathlib import Path

from extend.corpus import CountingLimits, HeldOut, count_corpus
from extend.errors import ExtendError


def peak_bytes() -> int:
    """The most memory this program has held; `ru_maxrss` would count that of the one that started it, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def main() -> int:
    corpus, directory, *numbers = sys.argv[1:]
    memory, processes, shard_bytes, *most = map(int, numbers)
    if most:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most[0], most[0]))
    try:
        counts = count_corpus(
            sorted(Path(corpus).iterdir()),
            split=str.split,
            held_out=HeldOut(int(0.02 * 2**64), 1),
            directory=Path(directory),
            limits=CountingLimits(memory=memory, processes=processes, shard_bytes=shard_bytes),
        )
    except ExtendError as error:
        print(json.dumps(error.as_json()))
        return error.exit_code
    report = {
        "counts": counts.counts_sha256(),
        "lines": counts.lines,
        "probes": counts.probes,
        "distinct_words": counts.distinct_words,
        "tokens": counts.tokens,
        "kept": len(counts.words),
        "words_left_out": counts.words_left_out,
        "peak": peak_bytes(),
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
