"""Where a model is trained, in which precision, and whether its kernels give the same bits again."""

import contextlib
import os
from collections.abc import Iterator

import torch


def device_of_choice() -> torch.device:
    """The first GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """What the device is called: the GPU's name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The type of autocast matrix products: bfloat16 where the hardware has it (`auto`), or none (fp32).

    T4 and V100 emulate bfloat16, more slowly than they compute in float32: they do not have it.

    Weights, gradients and optimizer state stay in float32: in pure bfloat16 small updates are lost.
    """
    if precision == "fp32":
        return None
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None


def is_reproducible(device: torch.device, *, deterministic: bool) -> bool:
    """Whether the same run on the same machine gives the same bits: always on CPUs, on GPUs when asked."""
    return device.type == "cpu" or deterministic


@contextlib.contextmanager
def deterministic_kernels(wanted: bool) -> Iterator[None]:
    """Within the block, only kernels that give the same bits again; an operation without one raises.

    Sets torch's switch, cuDNN's, and CUBLAS_WORKSPACE_CONFIG, which is read when CUDA starts.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
