"""`python -m tests.golden` writes the golden loss curve anew, after a change of method that means to move it.

The commit that does so says why: sampling, masking, initialisation, optimizer or schedule.
"""

import tempfile
from pathlib import Path

from tests.extend.training_runs import run, write_text

CURVE = Path(__file__).with_name("pretrain_tiny_loss.txt")

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        _, reports = run(Path(folder), write_text(Path(folder)))
    CURVE.write_text("".join(f"{report.loss:.6f}\n" for report in reports), encoding="ascii")
    print(f"wrote {CURVE}")
