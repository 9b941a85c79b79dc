"""How fast and how large devices are: GPUs by their makers' figures, this machine by a short measurement."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from extend.errors import UsageError, escaped
from extend.pretrain import autocast_dtype, device_name
from extend.pretrain.devices import device_of_choice
from extend.recipe.planning_costs import BaseShape, Costs, Speed
from extend.recipe.training import trained_of

UTILISATION, OF_THE_BANDWIDTH, ROOM = 0.4, 0.8, 0.92
"""Assumed of a GPU: the share of its peak that products reach, of its bandwidth that updates reach, of its
memory that there is to have."""
OWN_UTILISATION = 0.82
"""Share of the speed of lone products that a step reaches on a CPU: measured, docs/performance.md (3.0 of
3.65 seconds at mBERT's shape, updates left out)."""
_PROBE_ROWS, _PROBE_BYTES, _PROBE_SECONDS = 1024, 64 << 20, 0.3


@dataclass(frozen=True)
class Gpu:
    """A GPU as its maker describes it, without sparsity.

    `bf16` are bfloat16 products with float32 sums (None: it has none), `fp32` those of float32 without tensor
    cores, both in TFLOPS; `memory` in GB, `bandwidth` in GB/s.
    """

    bf16: float | None
    fp32: float
    memory: int
    bandwidth: int


GPUS: Mapping[str, Gpu] = MappingProxyType(
    {
        "T4": Gpu(None, 8.1, 16, 320),
        "V100": Gpu(None, 15.7, 16, 900),
        "RTX 3090": Gpu(71.0, 35.6, 24, 936),
        "A10G": Gpu(70.0, 35.0, 24, 600),
        "L4": Gpu(121.0, 30.3, 24, 300),
        "RTX 4090": Gpu(165.2, 82.6, 24, 1008),
        "A100": Gpu(312.0, 19.5, 40, 1555),
        "A100 80GB": Gpu(312.0, 19.5, 80, 2039),
        "H100": Gpu(989.0, 67.0, 80, 3350),
        "H200": Gpu(989.0, 67.0, 141, 4800),
    }
)
"""From NVIDIA's data sheets and architecture papers (T4, V100, Ampere GA102, A100, L4, Ada, H100 SXM, H200),
A10G from the page of AWS's G5 instances. The smallest memory where a name has several."""


def known_gpu(name: str) -> str:
    """The name in GPUS, whatever its case and blanks. Raises UsageError E-DEVICE with those there are."""
    wanted = "".join(name.casefold().removeprefix("nvidia").split())
    for known in GPUS:
        if "".join(known.casefold().split()) in (wanted, "rtx" + wanted):
            return known
    raise UsageError(
        f"no figures are known for a GPU called {escaped(name)}",
        name="E-DEVICE",
        next=f"one of: {', '.join(GPUS)}",
    )


def on_gpu(costs: Costs, name: str) -> dict[str, Any]:
    """Memory and time on a GPU of GPUS, for `--format json`; seconds a step are those of the main stage."""
    gpu = GPUS[name]
    half = costs.wanted.precision != "fp32" and gpu.bf16 is not None
    peak = gpu.bf16 if half and gpu.bf16 is not None else gpu.fp32
    speed = Speed(peak * 1e12 * UTILISATION, gpu.bandwidth * 1e9 * OF_THE_BANDWIDTH)
    samples = costs.wanted.micro_batch or costs.wanted.batch_size
    fitting = costs.samples_that_fit(gpu.memory * 1e9 * ROOM, half=half)
    return {
        "device": name,
        "precision": "bf16" if half else "fp32",
        "peak_tflops": peak,
        "memory": gpu.memory * 10**9,
        "needed": costs.memory(samples, half=half),
        "fits": fitting == samples,
        "micro_batch": fitting,
        "seconds_a_step": costs.seconds(trained_of(costs.wanted), speed) if fitting else None,
        "hours": costs.hours(speed) if fitting else None,
        "estimate": True,
    }


def on_this_machine(costs: Costs) -> dict[str, Any]:
    """The same for the device that training would use, from the speed of a few products of the base."""
    device = device_of_choice()
    dtype = autocast_dtype(costs.wanted.precision, device)
    operations, moved = measured_speed(costs.shape, device, dtype or torch.float32)
    share = OWN_UTILISATION if device.type == "cpu" else UTILISATION
    speed = Speed(operations * share, moved)
    samples = costs.wanted.micro_batch or costs.wanted.batch_size
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "precision": "bf16" if dtype is torch.bfloat16 else "fp32",
        "measured_tflops": operations / 1e12,
        "measured_gigabytes_a_second": moved / 1e9,
        "needed": costs.memory(samples, half=dtype is not None),
        "seconds_a_step": costs.seconds(trained_of(costs.wanted), speed),
        "hours": costs.hours(speed),
        "estimate": True,
    }


@torch.no_grad()
def measured_speed(shape: BaseShape, device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Operations a second of the base's larger linear layer on 1024 tokens, and bytes a second of a copy.

    The median of what `_PROBE_SECONDS` have room for, after one that does not count.
    """
    wide = max(shape.hidden, 4 * shape.hidden)
    states = torch.ones(_PROBE_ROWS, shape.hidden, device=device, dtype=dtype)
    weight = torch.ones(shape.hidden, wide, device=device, dtype=dtype)
    product = torch.empty(_PROBE_ROWS, wide, device=device, dtype=dtype)
    source = torch.ones(_PROBE_BYTES // 4, device=device)
    target = torch.empty_like(source)
    multiply = _median_seconds(lambda: torch.mm(states, weight, out=product), device)
    copy = _median_seconds(lambda: target.copy_(source), device)
    return 2 * _PROBE_ROWS * shape.hidden * wide / multiply, 2 * _PROBE_BYTES / copy


def _median_seconds(work: Callable[[], Any], device: torch.device) -> float:
    times: list[float] = []
    ends = 0.0
    while not times or time.perf_counter() < ends:
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
        ends = ends or time.perf_counter() + _PROBE_SECONDS
    return statistics.median(times[1:] or times)


def told_costs(costs: Costs, devices: Sequence[str], *, probe: bool) -> dict[str, Any]:
    """Everything above for `--format json`. Bytes are bytes, times are seconds and hours."""
    wanted = costs.wanted
    return {
        "architecture": costs.shape.architecture,
        "parameters": {"base": costs.shape.parameters, "added": costs.added, "total": costs.parameters},
        "added_bytes": {"fp32": 4 * costs.added, "fp16": 2 * costs.added},
        "optimizer_bytes": 8 * costs.trained(trained_of(wanted)),
        "disk": costs.disk(),
        "steps": wanted.steps,
        "batch_size": wanted.batch_size,
        "length": wanted.length,
        "tokens": wanted.steps * wanted.batch_size * wanted.length,
        "operations_a_step": costs.operations(trained_of(wanted)),
        "this_machine": on_this_machine(costs) if probe else None,
        "devices": [on_gpu(costs, name) for name in devices],
        "assumed": {
            "utilisation": UTILISATION,
            "bandwidth": OF_THE_BANDWIDTH,
            "memory": ROOM,
            "own_utilisation": OWN_UTILISATION,
        },
    }
