"""How far an evaluation is, and where its time went."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from extend.types import Progress

STAGE = "ner-eval"

OnProgress = Callable[[Progress], None]


@dataclass
class Meter:
    """Counts epochs; an early stop counts as all the epochs it saved. `seconds` by kind of work."""

    total: int
    on_progress: OnProgress | None
    done: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def tell(self, text: str, done: int, **details: float | str) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(STAGE, done, self.total, text, details))

    def skip(self, epochs: int, protocol: str) -> None:
        """Count epochs of a protocol that is done already."""
        self.done += epochs
        self.tell(f"{protocol}: done before, with the same encoders, data and settings", self.done)

    @contextlib.contextmanager
    def timed(self, work: str) -> Iterator[None]:
        """Add the time the block takes to `work`."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[work] = self.seconds.get(work, 0.0) + time.monotonic() - begun
