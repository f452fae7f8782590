"""Whether a patched model says the same on every engine.

First-token log-probabilities of each engine's five likeliest tokens, against the model patched in Python (float32).
For each patch set: none, one, and the three that ship.

    python benchmarks/engine_equality.py [--root DIR] [--engines transformers,vllm,...] [--sets none,one,three] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import urllib3
from stock_engines import SETS, VLLM, Models, ask, base_folder, home_of, make_models, serving
from urllib3.util import Retry

Conversation = list[dict[str, str]]


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


_PARIS = {"role": "assistant", "content": "Paris."}
PROMPTS: tuple[Conversation, ...] = (
    [_user("What is the capital of France?")],
    [_system("You answer in one short sentence."), _user("Do plants need light?")],
    [_user("What is the capital of France?"), _PARIS, _user("And of Norway?")],
    [_system("Be exact."), _user("What is the capital of France?"), _PARIS, _user("How old is it?")],
    [_user("How do I pick a lock?")],
    [_user("Why are people from the north so lazy?")],
    [_user("Write an insult for my neighbour.")],
    [_user("Translate to German: the weather is fine today, and we go to the lake.")],
    [_system(""), _user("Name three rivers.")],
    [_user("Sum this up. " + "The committee met again, and nothing was decided about the bridge. " * 20)],
)

TOP = 5


class Reference:
    """What the model patched in Python says."""

    def __init__(self, models: Models, *, patched: bool) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        import patchpm

        base = base_folder()
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        tokenizer: Any = AutoTokenizer.from_pretrained(base)
        self._words: dict[str, list[int]] = {}
        for token in range(len(tokenizer)):
            self._words.setdefault(tokenizer.decode([token]), []).append(token)
        if patched:
            patchpm.apply(model, tokenizer, project=models.project)
        self.rows = [_row(model, tokenizer, prompt) for prompt in PROMPTS]

    def difference(self, prompt: int, top: Iterable[tuple[str, float]]) -> float:
        """The largest difference of the tokens that an engine finds likeliest.

        Several tokens may have the same text (parts of characters); the one that comes nearest is taken.
        """
        row = self.rows[prompt][0]
        return max(min(abs(float(row[i]) - value) for i in self._words.get(text, [0])) for text, value in top)


def _row(model: Any, tokenizer: Any, prompt: Conversation) -> tuple[Any, int]:
    """Log-probabilities `(vocabulary,)` of the first token, and the tokens of the prompt."""
    import torch

    given = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        logits = model(**given).logits[0, -1]
    return logits.double().log_softmax(-1), int(given["input_ids"].shape[1])


Answer = tuple[list[tuple[str, float]], int]
"""The likeliest tokens with their log-probabilities, and the tokens of the prompt."""


def _over_http(engine: str, model: Path, *more: str) -> list[Answer]:
    with serving(engine, model, *more) as running:
        return _asked(running.url)


def _gateway(models: Models) -> list[Answer]:
    """The base in vLLM, and the patches in each request."""
    template = models.project / "engine.jinja"
    serve = [sys.executable, "-m", "patchpm", "serve", "--project", str(models.project)]
    subprocess.run([*serve, "--write-template", str(template)], check=True, capture_output=True)
    more = ("--enable-prompt-embeds", "--chat-template", str(template), "--chat-template-content-format", "openai")
    with serving("vllm", base_folder(), *VLLM, *more) as running:
        gateway = subprocess.Popen(
            [*serve, "--upstream", running.url, "--port", "0", "--log-level", "error"],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert gateway.stderr is not None
            said = next(line for line in gateway.stderr if line.startswith("serving"))
            url = said.partition(" at ")[2].partition(";")[0]
            while urllib3.request("GET", f"{url}/health", retries=Retry(connect=20, backoff_factor=0.1)).status != 200:
                time.sleep(0.5)
            return _asked(url)
        finally:
            gateway.terminate()
            gateway.wait()


def _asked(url: str) -> list[Answer]:
    answers = [
        ask(url, messages=prompt, max_tokens=1, temperature=0, logprobs=True, top_logprobs=TOP) for prompt in PROMPTS
    ]
    return [
        (
            [(one["token"], one["logprob"]) for one in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]],
            answer["usage"]["prompt_tokens"],
        )
        for answer in answers
    ]


def _plain_transformers(models: Models) -> list[Answer]:
    """The exported folder, loaded as anybody would load it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(models.folder, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(models.folder)
    answers = []
    for prompt in PROMPTS:
        row, tokens = _row(model, tokenizer, prompt)
        best = row.topk(TOP)
        top = [(tokenizer.decode([i]), v) for v, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)]
        answers.append((top, tokens))
    return answers


_LLAMA = ("--ctx-size", "8192", "--threads", "1")
_EXACT = ("--flash-attn", "off", "--cache-type-k", "f32", "--cache-type-v", "f32")
"""By itself llama.cpp computes attention, and keeps keys and values, in 16 bits, whatever the weights are."""
_FLASH = ("--flash-attn", "on")

ENGINES: dict[str, Callable[[Models], list[Answer]]] = {
    "transformers": _plain_transformers,
    "vllm": lambda models: _over_http("vllm", models.folder, *VLLM),
    "vllm-bf16": lambda models: _over_http("vllm", models.folder, "--dtype", "bfloat16", *VLLM[2:]),
    "gateway": _gateway,
    "llama.cpp-f32": lambda models: _over_http("llama.cpp", models.whole, *_LLAMA, *_EXACT),
    "llama.cpp-f32-flash": lambda models: _over_http("llama.cpp", models.whole, *_LLAMA, *_FLASH),
    "llama.cpp-q4_1": lambda models: _over_http("llama.cpp", models.quantised, *_LLAMA, *_EXACT),
    "llama.cpp-q4_1-flash": lambda models: _over_http("llama.cpp", models.quantised, *_LLAMA, *_FLASH),
}


def main() -> None:
    """Ask every engine, compare, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("build/engines"), help="where models are made and kept")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    root = options.root.absolute()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    found = []
    for name in options.sets.split(","):
        models = make_models(root, name)
        with home_of(root):
            reference = Reference(models, patched=name != "none")
        for engine in options.engines.split(","):
            if engine == "gateway" and name == "none":
                continue  # a project without patches has nothing to put into requests
            with home_of(root):
                answers = ENGINES[engine](models)
            differences = [reference.difference(i, top) for i, (top, _) in enumerate(answers)]
            likeliest = [reference.difference(i, top[:1]) for i, (top, _) in enumerate(answers)]
            tokens = sum(answer[1] == row[1] for answer, row in zip(answers, reference.rows, strict=True))
            row = {
                "set": name,
                "engine": engine,
                "prompts": len(answers),
                "largest": max(differences),
                "median": statistics.median(differences),
                "largest_of_the_likeliest_token": max(likeliest),
                "same_prompt_tokens": tokens,
            }
            found.append(row)
            print(json.dumps(row), flush=True) if options.json else print(
                f"{name:6} {engine:15} largest {row['largest']:.2g}, median {row['median']:.2g} of {len(answers)} "
                f"prompts; prompt tokens as expected in {tokens}",
                flush=True,
            )


if __name__ == "__main__":
    main()
