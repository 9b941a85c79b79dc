"""A trained adapter to files: by itself, beside the model it belongs to."""

import copy
from pathlib import Path

from transformers import PreTrainedModel

from extend import store
from extend.hub import save_model
from extend.pretrain.adapters import merged_, save_adapter, unloaded_
from extend.recipe.run import Run
from extend.tokenizer import TOKENIZER_FILES


def publish_adapter_(run: Run, model: PreTrainedModel, tokenizer_folder: Path) -> Path:
    """Publish `adapter/` and merge the adapter into `model`, in place. Returns the folder.

    It holds peft's adapter_config.json and adapter_model.safetensors, and in `base/` the checkpoint they
    belong to: the base with its new rows as they were trained, every old weight as it was. `model/`, with
    the adapter merged, is what the two make together.
    """
    folder = run.directory / "adapter"
    model.to("cpu")
    with store.publish_directory(folder) as made:
        save_adapter(model, made)
        below = store.make_directory(made / "base")
        save_model(unloaded_(copy.deepcopy(model)), below)
        store.copy_files(tokenizer_folder, below, TOKENIZER_FILES)
    merged_(model)
    return folder
