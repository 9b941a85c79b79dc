"""What a run would cost, reckoned before it: parameters, bytes, memory, time. Every figure is an estimate
but the counts of parameters, which the base's own class gives without its weights."""

from dataclasses import dataclass
from pathlib import Path

import torch

from extend.architectures import ARCHITECTURES, architecture_of
from extend.config import PretrainSettings
from extend.hub.folder import read_config
from extend.hub.load import architecture_name
from extend.recipe.training import trained_of

STATE_BYTES, FROZEN_BYTES, UPDATE_BYTES = 16, 4, 28
"""A trained parameter's weight, gradient and two moments, in float32; a frozen one's weight; what AdamW reads
and writes of a trained one in a step."""
TRAINED, FROZEN = 6, 4
"""Operations for each weight and token: forward 2, backward 2 to the inputs and 2 to the weights."""
ATTENTION = 12
"""Operations a token for each layer, hidden dimension and token attended to: 4 forward, 8 backward."""
ACTIVATION_BYTES = 34
"""Kept for each token, layer and hidden dimension in 16 bits, without attention scores, which flash kernels
do not keep: Korthikanti et al. 2022, "Reducing Activation Recomputation", equation 1."""
LOGIT_BYTES = 8
LIBRARIES = 600 << 20


@dataclass(frozen=True)
class BaseShape:
    """What of a base decides the cost: counted on the model its configuration describes, without weights.

    `row` are the parameters a piece adds (its row, a second one where the decoder is not tied, biases),
    `linear` the weights of the encoder's linear layers, `width` the numbers of an embedding row.
    """

    architecture: str
    parameters: int
    vocabulary: int
    width: int
    row: int
    layers: int
    hidden: int
    linear: int
    tied: bool


def base_shape(directory: Path) -> BaseShape:
    """The shape of the base in a folder, from its config.json alone.

    Raises CheckpointError, RefusedError as `read_config` does, UsageError for what cannot be extended.
    """
    config = read_config(directory)
    name = architecture_name(directory, config)
    model_class = ARCHITECTURES[name].model_class
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        model = model_class(model_class.config_class.from_dict(config))
    architecture = architecture_of(model)
    encoder = model.get_submodule(architecture.encoder)
    pieces = architecture.vocabulary_parameters(model)
    embedding = pieces["embedding"]
    return BaseShape(
        architecture=name,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        vocabulary=len(embedding),
        width=embedding.shape[1],
        row=sum(parameter[0].numel() for parameter in pieces.values()),
        layers=int(model.config.num_hidden_layers),
        hidden=int(model.config.hidden_size),
        linear=sum(
            module.weight.numel()
            for path, module in encoder.named_modules()
            if isinstance(module, torch.nn.Linear) and not path.startswith("pooler")
        ),
        tied="output" not in pieces,
    )


@dataclass(frozen=True)
class Speed:
    """Products (operations a second) and memory (bytes a second) as a step can use them."""

    operations: float
    bytes: float


@dataclass(frozen=True)
class Costs:
    """A base of a shape, grown by `rows` pieces and trained as `wanted` says."""

    shape: BaseShape
    rows: int
    wanted: PretrainSettings

    @property
    def parameters(self) -> int:
        return self.shape.parameters + self.added

    @property
    def added(self) -> int:
        return self.rows * self.shape.row

    def trained(self, what: str) -> int:
        """Parameters that are trained: all, embeddings or new-rows."""
        rows = self.shape.vocabulary + self.rows
        return {"all": self.parameters, "embeddings": rows * self.shape.row}.get(what, self.added)

    def stages(self) -> list[tuple[str, int]]:
        """What is trained, and for how many steps."""
        alone = min(self.wanted.new_rows_steps, self.wanted.steps) if self.rows else 0
        found = [("new-rows", alone), (trained_of(self.wanted), self.wanted.steps - alone)]
        return [(what, steps) for what, steps in found if steps]

    def operations(self, what: str) -> float:
        """Of one step: linear layers, attention, and the vocabulary for the masked tokens."""
        shape, length = self.shape, self.wanted.length
        linear = (TRAINED if what == "all" else FROZEN) * shape.linear
        attention = ATTENTION * shape.layers * shape.hidden * length
        vocabulary = TRAINED * (shape.vocabulary + self.rows) * shape.width * self.wanted.mask_rate
        return (linear + attention + vocabulary) * length * self.wanted.batch_size

    def seconds(self, what: str, speed: Speed) -> float:
        """Of one step: its products, and the update of what is trained."""
        return self.operations(what) / speed.operations + UPDATE_BYTES * self.trained(what) / speed.bytes

    def hours(self, speed: Speed) -> float:
        return sum(steps * self.seconds(what, speed) for what, steps in self.stages()) / 3600

    def memory(self, samples: int, *, half: bool) -> int:
        """Bytes in training, `samples` a forward pass, of the hungriest stage; `half`: bfloat16 products."""
        tokens = samples * self.wanted.length
        kept = ACTIVATION_BYTES * (1 if half else 2) * self.shape.layers * self.shape.hidden * tokens
        logits = LOGIT_BYTES * self.wanted.mask_rate * tokens * (self.shape.vocabulary + self.rows)
        states = max(
            STATE_BYTES * self.trained(what) + FROZEN_BYTES * (self.parameters - self.trained(what))
            for what, _ in self.stages() or [(trained_of(self.wanted), 0)]
        )
        return int(states + kept + logits) + LIBRARIES

    def samples_that_fit(self, room: float, *, half: bool) -> int | None:
        """The whole batch, or its largest half, quarter, ... that fits into `room` bytes; None: not one."""
        samples = self.wanted.micro_batch or self.wanted.batch_size
        while samples and self.memory(samples, half=half) > room:
            samples //= 2
        return samples or None

    def disk(self) -> dict[str, int]:
        """Bytes on disk: a checkpoint in float32, the new rows alone, and the largest the run folder gets."""
        checkpoint, trained = 4 * self.parameters, self.trained(trained_of(self.wanted))
        saved = 4 * self.parameters + 8 * trained
        return {
            "checkpoint": checkpoint,
            "delta_fp32": 4 * self.added,
            "delta_fp16": 2 * self.added,
            "run_folder": 2 * checkpoint + (self.wanted.keep + 1) * saved,
        }
