"""Where a model is trained, and in which precision."""

import torch


def device_of_choice() -> torch.device:
    """The first GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The type of autocast matrix products: bfloat16 where the hardware has it (`auto`), or none (fp32).

    Weights, gradients and optimizer state stay in float32: in pure bfloat16 small updates are lost.
    """
    if precision == "fp32":
        return None
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None
