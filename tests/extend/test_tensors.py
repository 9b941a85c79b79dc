"""The safetensors writer against the library's own writer and reader."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, load_file, save
from torch import Tensor

from extend import store
from extend.errors import SpaceError
from extend.tensors import safetensors_chunks, safetensors_size, write_safetensors

KINDS = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool, torch.uint16, torch.uint32, torch.uint64,
)  # fmt: skip


def drawn(kind: torch.dtype, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """A tensor of any bits; of zeros and ones where the type has no other."""
    count = torch.Size(shape).numel()
    generator = torch.Generator().manual_seed(seed)
    if kind == torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    size = torch.empty((), dtype=kind).element_size()
    bits = torch.randint(0, 256, (count * size,), dtype=torch.uint8, generator=generator)
    return bits.view(kind).reshape(shape)


def bits(tensor: Tensor) -> bytes:
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


_shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
_names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6).filter(lambda n: n != "__metadata__")
_tensors = st.dictionaries(_names, st.tuples(st.sampled_from(KINDS), _shapes), max_size=6)


@given(_tensors, st.booleans())
def test_the_bytes_are_those_of_the_library(
    wanted: dict[str, tuple[torch.dtype, tuple[int, ...]]], named: bool
) -> None:
    tensors = {name: drawn(kind, shape, seed) for seed, (name, (kind, shape)) in enumerate(wanted.items())}
    metadata = {"format": "pt"} if named else None
    written = b"".join(safetensors_chunks(tensors, metadata=metadata))
    assert written == save(tensors, metadata=metadata)
    assert len(written) == safetensors_size(tensors, metadata=metadata)
    read = load(written)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert read[name].shape == tensor.shape
        assert bits(read[name]) == bits(tensor)


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_reads_back(tmp_path: Path, kind: torch.dtype) -> None:
    tensor = drawn(kind, (3, 5))
    written = write_safetensors(tmp_path / "x.safetensors", {"x": tensor})
    read = load_file(tmp_path / "x.safetensors")["x"]
    assert read.dtype == kind
    assert bits(read) == bits(tensor)
    assert written.size == (tmp_path / "x.safetensors").stat().st_size
    assert written.sha256 == store.sha256_file(tmp_path / "x.safetensors")


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 24])
def test_views_are_written_as_they_look_whatever_the_pieces(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("extend.tensors._CHUNK", chunk)
    whole = torch.arange(2 * 6 * 5, dtype=torch.float32).reshape(2, 6, 5)
    views = {
        "turned": whole.permute(2, 0, 1),
        "every second": whole.clone()[:, ::2],
        "one row": whole.clone()[:1].transpose(1, 2),
        "broadcast": torch.ones(1, 3).expand(4, 3),
        "parameter": torch.nn.Parameter(torch.ones(3, 2)).t(),
        "number": torch.tensor(2.5),
    }
    read = load(b"".join(safetensors_chunks(views)))
    assert all(torch.equal(read[name], view) for name, view in views.items())


def test_metadata_is_written_in_one_order(tmp_path: Path) -> None:
    files = []
    for names in ("bca", "abc"):
        metadata = {name: name.upper() for name in names}
        files.append(b"".join(safetensors_chunks({"x": torch.ones(2)}, metadata=metadata)))
    assert files[0] == files[1]
    assert load(files[0])["x"].tolist() == [1, 1]


def test_two_names_for_one_memory_are_refused_unless_named() -> None:
    one = torch.ones(4, 2)
    for other in (one, one.t(), one[1:], one[:, 1]):
        with pytest.raises(ValueError, match="share memory"):
            list(safetensors_chunks({"one": one, "zwei": other}))
    both = {"one": one, "zwei": one[1:]}
    read = load(b"".join(safetensors_chunks(both, aliases=["zwei"])))
    assert torch.equal(read["zwei"], one[1:])
    apart = load(b"".join(safetensors_chunks({"one": one[:2], "zwei": one[2:]})))
    assert torch.equal(torch.cat([apart["one"], apart["zwei"]]), one)


def test_a_type_the_format_lacks_is_told_before_a_byte_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"x: .*complex128"):
        write_safetensors(tmp_path / "x", {"x": torch.ones(2, dtype=torch.complex128)})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"x": torch.zeros(3)})
    before = path.read_bytes()
    monkeypatch.setattr(store.operations, "write", _no_space)
    with pytest.raises(SpaceError, match=r"x\.safetensors"):
        write_safetensors(path, {"x": torch.ones(3)})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]


def _no_space(*_: object) -> int:
    raise OSError(28, "No space left on device")


def test_memory_stays_that_of_the_tensors(tmp_path: Path) -> None:
    """A process with 200 MB of tensors writes them with at most 48 MB more."""
    program = (
        "import sys, torch; from pathlib import Path; from extend.tensors import write_safetensors\n"
        "def highest(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "tensors = {str(i): torch.full((25_000, 250), float(i)) for i in range(8)}\n"
        "write_safetensors(Path(sys.argv[1] + '.small'), {'x': torch.ones(9).view(3, 3).t()})\n"
        "before = highest(); write_safetensors(Path(sys.argv[1]), tensors); print(highest() - before)\n"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 48_000
