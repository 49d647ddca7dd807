"""Where a model's files are, and the fingerprint that tells one model from another. No torch."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warehouse.settings import PolicySettings

_MODELS = Path(__file__).resolve().parents[2] / "models"
NURSERY = _MODELS / "nursery"
SHIPPED = {name: _MODELS / name for name in ("nursery", "nursery-reward", "nursery-judge")}
_PARTS = (".safetensors", ".json", ".jinja", ".model")
_TEXT_PARTS = ("merges.txt", "vocab.txt")
_HUB_ID = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?")


class ModelError(ValueError):
    """The model that a setting names cannot be had or used; the message says why."""


def find_model(name: str, setting: str = "policy.model") -> Path:
    """Return the folder of a model: one of `SHIPPED` by name, a folder, or a name on the Hugging Face hub.

    Only a hub name makes this fetch anything, and then safetensors only (pickled weights can run code). `setting` says
    what names it, for messages.

    Raises:
        ModelError: nothing of that name can be had, or it has no safetensors weights.
    """
    folder = SHIPPED.get(name) or Path(name).expanduser()
    if not folder.is_dir():
        if name in SHIPPED or not _HUB_ID.fullmatch(name) or name.startswith("."):
            msg = f"{setting} = {name!r}: no such folder: {folder}"
            raise ModelError(msg)
        folder = _from_hub(name, setting)
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        msg = f"{setting} = {name!r}: {folder} needs config.json and *.safetensors; convert other weights first"
        raise ModelError(msg)
    return folder


def _from_hub(name: str, setting: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = [f"*{suffix}" for suffix in _PARTS] + list(_TEXT_PARTS)
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=["*/*", "consolidated*"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        msg = f"{setting} = {name!r} is neither a folder nor to be had from the Hugging Face hub: {error}"
        raise ModelError(msg) from error


def model_fingerprint(policy: PolicySettings) -> str:
    """Return what names the weights of a policy: their bytes, or what the user says of a served model.

    Raises:
        ModelError: the model cannot be had.
    """
    if policy.engine == "openai":
        return served_fingerprint(policy.model, policy.revision)
    return fingerprint(find_model(policy.model))


def served_fingerprint(model: str, revision: str | None) -> str:
    """Return the fingerprint of a model behind a server: its name, and the revision that the user gives it.

    Nobody here can look at the weights: a server that changes them under the same name goes unseen, unless
    `policy.revision` changes, too.
    """
    return f"served:{model}:{revision or ''}"


def fingerprint(folder: Path) -> str:
    """Return 32 hex characters over the bytes of configuration, tokenizer and weights, and nothing else.

    Two folders with the same bytes agree, wherever they lie; a changed weight or template does not go unseen.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.suffix in _PARTS or path.name in _TEXT_PARTS:
            stat = path.stat()
            digest.update(f"{path.name}\0{_sha256(path, stat.st_mtime_ns, stat.st_size)}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=4096)
def _sha256(path: Path, _mtime_ns: int, _size: int) -> str:
    """Hash a file once a process. The hub's cache names a large file by its SHA-256 already."""
    target = path.resolve()
    if target.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", target.name):
        return target.name
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
