"""Anime AI Studio: train, chat with and share anime characters that talk."""

__version__ = "0.1.0"
