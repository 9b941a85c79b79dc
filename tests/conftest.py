"""Shared by every test: no network, no telemetry, one thread a process, no deadline a property trial.

The trials are the same in every run, so that a commit passes or fails for what is in it; `make fuzz` draws
others, and more of them.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis

hypothesis.settings.register_profile(
    "repeatable", deadline=None, max_examples=50, derandomize=True, print_blob=True
)
hypothesis.settings.register_profile("search", deadline=None, max_examples=500, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("EXTEND_TRIALS", "repeatable"))
