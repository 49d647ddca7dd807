"""Where the commented example settings lie."""

from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "preppo.toml"
