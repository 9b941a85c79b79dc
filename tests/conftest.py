"""Shared by every test: no network, no telemetry, one thread a process, no deadline a property trial."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis

hypothesis.settings.register_profile("shared-machine", deadline=None, max_examples=50, print_blob=True)
hypothesis.settings.load_profile("shared-machine")
