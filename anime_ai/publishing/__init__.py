"""Sharing what was made: adapters, datasets, whole models, personas, and the studio itself. Knows no page."""
