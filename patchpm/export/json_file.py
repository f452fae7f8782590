"""JSON files of an export, as other programs read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write an object, in ASCII: half of a character, which JSON can hold and UTF-8 cannot, stays as it was."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="ascii")
