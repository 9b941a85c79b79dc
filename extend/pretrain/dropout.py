"""Another dropout than a model's own, for the time of its training."""

from torch import nn

_RATE = "attention_dropout"
"""What attention modules that hand a kernel a rate of their own name it (ModernBERT, EuroBERT)."""

_LEFT_OUT = "out_drop"
"""The dropout in whose place ModernBERT puts nothing where its configuration says 0."""


def set_dropout_(model: nn.Module, rate: float) -> None:
    """Give every dropout of the model, hidden and of attention, the same rate; 0 switches all off.

    Only the modules change: the configuration, which is published, keeps the base's own rates.
    """
    for module in list(model.modules()):
        if isinstance(module, nn.Dropout):
            module.p = rate
        if isinstance(getattr(module, _LEFT_OUT, None), nn.Identity):
            setattr(module, _LEFT_OUT, nn.Dropout(rate))
        if hasattr(module, _RATE):
            setattr(module, _RATE, rate)
