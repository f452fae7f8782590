"""The llama.cpp server of the Python package `xllamacpp`, with those options of `llama-server` that patchpm uses.

Run as a file, by the Python that has that package: `python xllamacpp_server.py --model FILE --host H --port N`.
"""

from __future__ import annotations

import argparse
import signal
import threading
from typing import Any


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--alias", default="")
    parser.add_argument("--ctx-size", type=int, default=0, help="tokens of all slots together; 0: what the model knows")
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--threads", type=int)
    # On a CPU, llama.cpp's flash attention adds up in 16 bits. What three patches do is lost in that now and then.
    parser.add_argument("--flash-attn", default="off", choices=("on", "off", "auto"))
    parser.add_argument("--cache-type-k", default="f16", choices=("f32", "f16", "q8_0"))
    parser.add_argument("--cache-type-v", default="f16", choices=("f32", "f16", "q8_0"))
    options = parser.parse_args()

    import xllamacpp

    parameters: Any = xllamacpp.CommonParams()
    parameters.model.path = options.model
    parameters.hostnames, parameters.port = [options.host], options.port
    parameters.n_ctx, parameters.n_parallel = options.ctx_size, options.parallel
    types = {name: getattr(xllamacpp.ggml_type, f"GGML_TYPE_{name.upper()}") for name in ("f32", "f16", "q8_0")}
    parameters.cache_type_k, parameters.cache_type_v = types[options.cache_type_k], types[options.cache_type_v]
    attention = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}[options.flash_attn]
    parameters.flash_attn_type = getattr(xllamacpp.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{attention}")
    if options.alias:
        parameters.model_alias = {options.alias}
    if options.threads:
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = options.threads
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    signal.signal(signal.SIGINT, lambda *_: told.set())
    server = xllamacpp.Server(parameters)
    print(f"serving at {server.listening_address}", flush=True)  # noqa: T201  # a server of its own: this is its log
    while not told.wait(1):
        pass


if __name__ == "__main__":
    main()
