"""An engine without a model: a process of its own that answers as engines do, so that starting and stopping is real.

Its model is a file with the number of tokens that its patches have; a prompt has that many, and one for each word. Of a
real model, a folder, it knows nothing, so it counts wrong.
"""

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
from typing import Any

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--fail", action="store_true", help="end with an error at once")
parser.add_argument("--load", type=float, default=0, help="seconds until it is healthy")
parser.add_argument("--stubborn", action="store_true", help="do not end at SIGTERM")
parser.add_argument("--worker", type=Path, help="start a process beside this one, and write its id there")
parser.add_argument("--strips", action="store_true", help="forget the patches")
options = parser.parse_args()

print("loading", options.model, flush=True)
if options.fail or options.model.endswith("broken"):
    print("out of memory", flush=True)
    sys.exit(3)
if options.worker:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    options.worker.write_text(f"{os.getpid()} {worker.pid}")
if options.stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
ready = time.monotonic() + options.load
WORDS = 5


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/crash":
            os._exit(7)
        if self.path == "/v1/models":
            self.answer({"object": "list", "data": [{"id": "base"}]})
        else:
            self.answer({"model": options.model}, 200 if time.monotonic() > ready else 503)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        own = 0 if options.strips or Path(options.model).is_dir() else int(Path(options.model).read_text())
        usage = {"prompt_tokens": own + len(body["messages"][-1]["content"].split()), "completion_tokens": WORDS}
        if not body.get("stream"):
            time.sleep(0.03)
            choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
            self.answer({"object": "chat.completion", "choices": [choice], "usage": usage})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for _ in range(WORDS):
            time.sleep(0.03)
            self.event({"choices": [{"index": 0, "delta": {"content": "word"}, "finish_reason": None}]})
        self.event({"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def answer(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def event(self, value: Any) -> None:
        self.wfile.write(b"data: " + json.dumps({"object": "chat.completion.chunk", **value}).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


Server(("127.0.0.1", options.port), Handler).serve_forever()
