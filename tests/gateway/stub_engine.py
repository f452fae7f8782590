"""An engine without a model: a process of its own that answers as engines do, so that starting and stopping is real."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--fail", action="store_true", help="end with an error at once")
parser.add_argument("--load", type=float, default=0, help="seconds until it is healthy")
parser.add_argument("--stubborn", action="store_true", help="do not end at SIGTERM")
parser.add_argument("--worker", type=Path, help="start a process beside this one, and write its id there")
options = parser.parse_args()

print("loading", options.model, flush=True)
if options.fail:
    print("out of memory", flush=True)
    sys.exit(3)
if options.worker:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    options.worker.write_text(f"{os.getpid()} {worker.pid}")
if options.stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
ready = time.monotonic() + options.load


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/crash":
            os._exit(7)
        self.send_response(200 if time.monotonic() > ready else 503)
        self.end_headers()
        self.wfile.write(json.dumps({"model": options.model}).encode())

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
