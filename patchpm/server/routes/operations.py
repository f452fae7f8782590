"""What the people who run the server ask for, and what clients ask every server for."""

from __future__ import annotations

from sqlalchemy import text
from starlette.responses import JSONResponse, PlainTextResponse, Response

import patchpm
from patchpm.server.call import Call
from patchpm.server.metrics import CONTENT_TYPE
from patchpm.server.refusal import RefusedError


def front(call: Call) -> Response:
    """`GET /`: what this is."""
    return PlainTextResponse(
        f"This is a patchpm registry ({patchpm.__version__}). Clients of the Hugging Face Hub work with it:\n\n"
        f"    HF_ENDPOINT={call.base_url} hf auth whoami\n"
    )


def health(_: Call) -> Response:
    """`GET /health`: the process answers."""
    return JSONResponse({"status": "ok"})


def ready(call: Call) -> Response:
    """`GET /ready`: database and store answer as well."""
    try:
        with call.site.engine.connect() as db:
            db.execute(text("SELECT 1"))
        call.site.blobs.check()
    except Exception as error:  # whatever it is, the server is not ready
        return RefusedError(503, f"Not ready: {type(error).__name__}", extra={"status": "unavailable"}).response()
    return JSONResponse({"status": "ok"})


def metrics(call: Call) -> Response:
    """`GET /metrics`."""
    return Response(call.site.metrics.page(), headers={"Content-Type": CONTENT_TYPE})


def harnesses(_: Call) -> Response:
    """`GET /api/agent-harnesses`, which clients ask for until they get JSON."""
    return JSONResponse({"standardEnvVars": [], "harnesses": {}})


def telemetry(_: Call) -> Response:
    """`HEAD /api/telemetry/…`: nothing is collected."""
    return Response(status_code=204)
