"""Named groups of settings that belong together, each with where it comes from."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from extend.errors import UsageError, escaped

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # Wang, K, Mayhew and Roth 2020, section 4, and the released scripts: E-MBERT.
        "paper": {
            "pretrain.steps": 500_000,
            "pretrain.new_rows_steps": 0,
            "pretrain.train": "all",
            "pretrain.batch_size": 32,
            "pretrain.length": 128,
            "pretrain.learning_rate": 2e-5,
            "pretrain.warmup_steps": 10_000,
            "pretrain.weight_decay": 0.01,
            "pretrain.clip": 1.0,
            "pretrain.mask_rate": 0.15,
            "pretrain.max_predictions": 20,
            "pretrain.duplicates": 5,
            "pretrain.whole_word": True,
            "pretrain.nsp": True,
            "pretrain.softmax": "full",
            "pretrain.packing": "blocks",
        },
    }
)


def preset(name: str) -> Mapping[str, Any]:
    """Dotted settings of a preset. Raises UsageError for a name that there is not."""
    if name not in PRESETS:
        raise UsageError(
            f"there is no preset {escaped(name)}",
            name="E-PRESET",
            next=f"one of: {', '.join(PRESETS)}",
        )
    return PRESETS[name]
