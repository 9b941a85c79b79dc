"""Memory of weights that are mapped from their file: pages that were only read can be let go."""

import ctypes
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

_REGION = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ *(.*)")
_CHANGED = re.compile(r"(?:Anonymous|Swap): +([0-9]+) kB")
_ENDINGS = (".safetensors", ".safetensors (deleted)")
_REGIONS = Path("/proc/self/smaps")


def release_mapped() -> int:
    """Hand back the pages of mapped safetensors files, and say how many bytes of addresses they take.

    Weights are mapped when they are loaded: each page that was read stays in memory, though its file has it
    and gives it again. A file of which a single page was written to keeps all: the file no longer has what
    they hold. Nothing may write to weights meanwhile. Does nothing where there is no Linux to ask.
    """
    released = 0
    for start, end in list(_unchanged()):
        library = ctypes.CDLL(None, use_errno=True)
        failed = library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)
        released += 0 if failed else end - start
    return released


def _unchanged() -> Iterator[tuple[int, int]]:
    """First address and end of every mapped weight file, or part of one, that nothing was written to."""
    if not _REGIONS.is_file():
        return
    region, changed = None, 0
    for line in (*_REGIONS.read_text(encoding="utf-8", errors="replace").splitlines(), "0-0 - - - 0 end"):
        found = _REGION.fullmatch(line)
        if found:
            if region and not changed:
                yield region
            mapped = found[3].endswith(_ENDINGS)
            region, changed = (int(found[1], 16), int(found[2], 16)) if mapped else None, 0
        elif kept := _CHANGED.fullmatch(line):
            changed += int(kept[1])
