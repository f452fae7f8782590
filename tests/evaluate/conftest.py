from __future__ import annotations

from tests.evaluate.tiny_suite import briefly

__all__ = ["briefly"]
