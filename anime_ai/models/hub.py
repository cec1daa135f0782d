"""Names of models on the hub, and where their files lie in the local cache. Knows no kind of model, no network."""

from __future__ import annotations

from pathlib import Path


def is_hub_id(name: str) -> bool:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def cached(name: str, file: str) -> Path | None:
    """Where a file of a model lies in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, file)
    return Path(found) if isinstance(found, str) else None
