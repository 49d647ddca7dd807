"""Arrow types that several formats share."""

from __future__ import annotations

import pyarrow as pa

TEXT = pa.string()
MESSAGES = pa.list_(pa.struct([("role", TEXT), ("content", TEXT)]))


def prompt_type(raw: bool) -> pa.DataType:  # noqa: FBT001 (it names which of two types)
    """Return the type of a prompt: text where it is an exact prefix, else messages."""
    return TEXT if raw else MESSAGES
