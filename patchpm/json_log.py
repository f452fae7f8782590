"""Structured logs of servers: one JSON object a line, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

REGISTRY_LOG: Final = logging.getLogger("patchpm.server")
"""Of `patchpm registry serve`."""
GATEWAY_LOG: Final = logging.getLogger("patchpm.gateway")
"""Of `patchpm serve`."""


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to_stderr(log: logging.Logger, level: str) -> None:
    """Write structured logs of a server, and of what it stands on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level="WARNING", force=True)
    log.setLevel(level.upper())
