from __future__ import annotations

from tests.guard.conftest import locked

__all__ = ["locked"]
