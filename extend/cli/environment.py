"""`extend env`: one block to paste in an issue. It shows no token and no name of a user."""

import os
import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer
from rich.console import RenderableType

from extend import __version__
from extend.cli.command import Call, Result, command
from extend.cli.output import figure

_PACKAGES = (
    "torch transformers tokenizers datasets safetensors huggingface-hub accelerate sentencepiece seqeval "
    "pytorch-crf gensim numpy pyarrow zstandard pydantic typer rich matplotlib jinja2 langcodes language_data"
)
_NATIVE_BF16 = {"avx512_bf16", "amx_bf16", "bf16", "asimdbf16"}
_HUB = "https://huggingface.co"


def register(app: typer.Typer) -> None:
    """Put this group's command into the application."""
    command(app, "env", panel="Start here", render=_environment_text, example="extend env", on_run=False)(env)


def env(call: Call) -> Result:
    """Show versions and machine in one block to paste in an issue."""
    return {
        "extend": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        **_torch(),
        "hub_endpoint": _without_credentials(os.environ.get("HF_ENDPOINT", _HUB)),
        "hub_offline": os.environ.get("HF_HUB_OFFLINE", "0"),
        "packages": {name: _version(name) for name in _PACKAGES.split()},
    }


def _torch() -> dict[str, Any]:
    import torch

    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "torch_threads": torch.get_num_threads(),
        "accelerators": devices or None,
        "bf16": "native"
        if (devices and torch.cuda.is_bf16_supported(including_emulation=False)) or _processor_has_bf16()
        else "emulated",
    }


def _processor_has_bf16() -> bool:
    described = Path("/proc/cpuinfo")
    if sys.platform != "linux" or not described.is_file():
        return platform.machine() == "arm64"
    flags = re.findall(r"^(?:flags|Features)\s*:(.*)$", described.read_text(), re.MULTILINE)
    return any(_NATIVE_BF16 & set(one.split()) for one in flags)


def _without_credentials(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//", address)


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _environment_text(result: Result) -> Iterable[RenderableType]:
    yield "```"
    for name, value in result.items():
        if isinstance(value, dict):
            yield f"{name}: " + ", ".join(
                f"{package} {figure(version)}" for package, version in value.items()
            )
        else:
            shown = ", ".join(value) if isinstance(value, list) else figure(value)
            yield f"{name.replace('_', ' ')}: {shown}"
    yield "```"
