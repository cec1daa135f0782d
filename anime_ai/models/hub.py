"""The model hub, or its mirror (`HF_ENDPOINT`): what is here already, and fetching the rest. Knows no kind of model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from anime_ai.errors import ModelError


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


def fetched_bytes(name: str) -> int:
    """How much of a model lies in the local cache, what is still arriving with it."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    blobs = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model") / "blobs"
    sizes = []
    for file in blobs.glob("*"):
        with suppress(OSError):  # an arriving file has just got its final name
            sizes.append(file.stat().st_size)
    return sum(sizes)


def fetch(name: str, files: Sequence[str], timeout: float, tell: Callable[[], None] = lambda: None) -> Path:
    """Fetch the files of some patterns; the folder that they lie in. `tell` is called when the download begins.

    A hub that does not answer is told in seconds (`timeout`). Raises ModelError.
    """
    import httpx
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    endpoint = constants.ENDPOINT
    try:
        answer = httpx.get(f"{endpoint}/api/models/{name}", timeout=timeout, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ModelError("model.hub_silent", name=name, endpoint=endpoint, why=type(error).__name__) from error
    if answer.status_code in (401, 403, 404):
        raise ModelError("model.unknown", name=name)
    if answer.status_code >= 400:
        raise ModelError("model.hub_silent", name=name, endpoint=endpoint, why=answer.status_code)
    tell()
    try:
        return Path(snapshot_download(name, allow_patterns=list(files), etag_timeout=timeout))
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
        raise ModelError("model.download_failed", name=name, endpoint=endpoint, why=type(error).__name__) from error
