"""Losses that jump and steps that are left out: judged, told at once, and written to events.jsonl."""

from collections.abc import Mapping
from typing import Any, final

from extend.config import PretrainSettings
from extend.pretrain import LeftOut, Verdict
from extend.pretrain.watching import Spike, SpikeWatch
from extend.recipe.metrics import Metrics

_DONE = {
    "warn": "training goes on",
    "skip": "the step is left out",
    "rewind": "back to the last checkpoint, without these samples",
    "stop": "the run is stopped",
}


@final
class Spikes:
    """Judges every step's loss by `pretrain.on_spike`. `Metrics` writes what it finds."""

    def __init__(self, settings: PretrainSettings, metrics: Metrics) -> None:
        self.settings, self.metrics = settings, metrics
        self._watch = SpikeWatch()
        self._last: Spike | None = None

    def judge(self, step: int, loss: float) -> Verdict:
        """What to do about the loss of step `step` (from 1)."""
        spike = self._watch.add(step, loss)
        if spike is None:
            return "go"
        self._last, wanted = spike, self.settings.on_spike
        first, last = self._samples(spike)
        self.metrics.warn("W-SPIKE", f"{spike.told()} (samples {first} to {last}): {_DONE[wanted]}")
        if wanted != "rewind":
            self._note(step, spike)
        return "go" if wanted == "warn" else wanted

    def left_out(self, step: LeftOut) -> None:
        """Note a step that changed nothing; one left out as a spike is noted already."""
        if step.why == "spike":
            return
        samples = [step.samples.start, step.samples.stop - 1]
        self.metrics.event(step.step, "left-out", why=step.why, samples=samples)
        if step.why == "not finite":
            told = (
                f"loss or gradient of step {step.step} is not finite (samples {samples[0]} to {samples[1]})"
            )
            self.metrics.warn("W-NOT-FINITE", f"{told}: the step is left out")

    def rewound(self, step: int) -> None:
        """Note at `step`, which the run went back to, the spike it went back for."""
        if self._last:
            self._note(step, self._last)

    def remember(self) -> dict[str, Any]:
        """What a checkpoint must keep for a resumed run to judge alike."""
        return {"spike_losses": self._watch.losses}

    def recall(self, memory: Mapping[str, Any] | None) -> None:
        """Take up what `remember` gave; a fresh start has None."""
        self._watch = SpikeWatch((memory or {}).get("spike_losses", ()))

    def _note(self, step: int, spike: Spike) -> None:
        self.metrics.event(
            step,
            "spike",
            at=spike.step,
            loss=spike.loss,
            mean=spike.mean,
            deviation=spike.deviation,
            samples=list(self._samples(spike)),
            action=self.settings.on_spike,
        )

    def _samples(self, spike: Spike) -> tuple[int, int]:
        """Numbers of the step's first and last sample."""
        first = (spike.step - 1) * self.settings.batch_size
        return first, first + self.settings.batch_size - 1
