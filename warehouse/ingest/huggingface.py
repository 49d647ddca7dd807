"""Read rows out of a Hugging Face data set, local or from the hub."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.ingest.raw import Block, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.ingest.raw import RawRow


def read_dataset(name: str, config: str | None = None, split: str = "train") -> Iterator[RawRow]:
    """Yield the rows of one split.

    Args:
        name: a folder that `save_to_disk` wrote, a folder of data files, or a name on the hub.
        config: the configuration, where a data set has several.
        split: the split; a `save_to_disk` folder of one split has no name for it, and any is accepted.

    Raises:
        InputError: the data set, its configuration or its split cannot be had; says which.
    """
    for block in dataset_blocks(name, config, split):
        yield from block.parse()


def dataset_blocks(
    name: str, config: str | None, split: str, *, block_rows: int = 20_000, expected_hash: str | None = None
) -> Iterator[Block]:
    """Yield a split's rows as blocks; the counterpart of `readers.read_blocks`."""
    data = _load(name, config, split)
    if expected_hash is not None and (found := _hash(data)) != expected_hash:
        msg = f"{name} ({split}): the data set has changed since it was registered (hash {found}, was {expected_hash})"
        raise InputError(msg)
    first = 0
    for table in data.with_format("arrow").iter(batch_size=block_rows):
        for batch in table.combine_chunks().to_batches():
            yield Block(first, batch.num_rows, batch=batch)
            first += batch.num_rows


def dataset_hash(name: str, config: str | None, split: str) -> str:
    """Return 32 hex characters that name this split's content, by the library's own fingerprint."""
    return _hash(_load(name, config, split))


def _hash(data: Any) -> str:
    return hashlib.blake2b(str(data._fingerprint).encode(), digest_size=16).hexdigest()


def _load(name: str, config: str | None, split: str) -> Any:
    import datasets  # here: seconds to import, and only such sources need it

    folder = Path(name).expanduser()
    try:
        if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
            data = datasets.load_from_disk(str(folder))
            if isinstance(data, datasets.DatasetDict):
                if split not in data:
                    msg = f"{name}: no split {split!r}; it has {sorted(data)}"
                    raise InputError(msg)
                return data[split]
            return data
        return datasets.load_dataset(str(folder) if folder.is_dir() else name, config, split=split)
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # what the library raises for names, splits and the network
        msg = f"data set {name!r} (config {config!r}, split {split!r}) cannot be loaded: {error}"
        raise InputError(msg) from error
