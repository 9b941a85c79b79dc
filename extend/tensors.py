"""Tensors to a safetensors file, one after the other, without a copy of the whole in memory.

The format (https://huggingface.co/docs/safetensors, section Format): eight bytes with the length of a JSON
header, the header, the tensors' bytes in little-endian order. Tensors lie in the order of the library's own
writer, larger alignments first and then by name; with at most one entry of metadata the bytes are the same.
"""

import itertools
import json
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from extend import store

_CHUNK = 1 << 24
_IN_ORDER = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_safetensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    metadata: Mapping[str, str] | None = None,
    aliases: Collection[str] = (),
) -> store.Written:
    """Replace `path` with the tensors, atomically; returns the file's size and sha256.

    Beside the tensors at most 16 MiB are held at once, and one row's copy of a tensor that is not
    contiguous. Two tensors that share memory would be two after loading: ValueError, unless all but one
    are named in `aliases`. Raises TypeError for a type the format lacks, PathError or SpaceError.
    """
    return store.write_chunks(path, safetensors_chunks(tensors, metadata=metadata, aliases=aliases))


def safetensors_chunks(
    tensors: Mapping[str, Tensor],
    *,
    metadata: Mapping[str, str] | None = None,
    aliases: Collection[str] = (),
) -> Iterator[bytes | memoryview]:
    """The file's bytes: the header first, then the data of each tensor in pieces. Raises as above."""
    _refuse_shared({name: tensor for name, tensor in tensors.items() if name not in aliases})
    names = _in_order(tensors)
    yield _header(names, tensors, metadata)
    for name in names:
        yield from _pieces(tensors[name].detach())


def safetensors_size(tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> int:
    """How many bytes the file of these tensors has."""
    data = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    return len(_header(_in_order(tensors), tensors, metadata)) + data


def _in_order(tensors: Mapping[str, Tensor]) -> list[str]:
    place = {kind: number for number, kind in enumerate(_IN_ORDER)}
    for name, tensor in tensors.items():
        if tensor.dtype not in place:
            raise TypeError(f"{name}: a safetensors file has no {tensor.dtype} here")
    return sorted(tensors, key=lambda name: (place[tensors[name].dtype], name.encode("utf-8")))


def _header(names: list[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for name in names:
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": _IN_ORDER[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _pieces(tensor: Tensor) -> Iterator[memoryview]:
    """The tensor's bytes in row-major order, in pieces of about 16 MiB."""
    if tensor.numel() == 0:
        return
    if tensor.is_contiguous():
        flat = tensor.as_strided((tensor.numel(),), (1,))
        for piece in flat.split(max(1, _CHUNK // tensor.element_size())):
            yield memoryview(piece.cpu().view(torch.uint8).numpy())
        return
    bytes_a_row = tensor[0].numel() * tensor.element_size()
    rows = max(1, _CHUNK // bytes_a_row)
    for part in tensor.split(rows):
        if part.numel() * part.element_size() > _CHUNK and part[0].dim() and not part[0].is_contiguous():
            yield from _pieces(part[0])
        else:
            yield from _pieces(part.contiguous())


def _refuse_shared(tensors: Mapping[str, Tensor]) -> None:
    extents = []
    for name, tensor in tensors.items():
        if tensor.numel():
            reach = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
            begin = tensor.data_ptr()
            extents.append((str(tensor.device), begin, begin + (reach + 1) * tensor.element_size(), name))
    extents.sort()
    for (device, _, end, name), (other, begin, _, following) in itertools.pairwise(extents):
        if device == other and begin < end:
            raise ValueError(f"{name} and {following} share memory: write one, or name the other an alias")
