"""Serves a GGUF file with llama.cpp's own server, as the package xllamacpp carries it, until it is killed."""

from __future__ import annotations

import sys
import time

import xllamacpp  # type: ignore[import-not-found]  # lives in the engines' own environment

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.n_parallel = int(sys.argv[2])
parameters.n_ctx = 1024 * parameters.n_parallel
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
parameters.port = 0
parameters.warmup = False
server = xllamacpp.Server(parameters)
sys.stdout.write(f"{server.listening_address}\n")
sys.stdout.flush()
time.sleep(3600)
