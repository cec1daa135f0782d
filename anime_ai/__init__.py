"""Anime AI Studio: train, chat with and share anime characters that talk."""

import os

__version__ = "0.1.0"

# No library that works for us reports home; each reads these when it is imported, so they are set before any is.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
