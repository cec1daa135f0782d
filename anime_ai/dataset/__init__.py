"""Dialogues: rows, files, splits, preprocessing. Knows nothing of training."""
