"""What the patches cost: time to the first token and for each further one, against the base on the same engine.

Base and patched model take turns request by request, in an order that changes, so that they meet the same weather: two
llama.cpp servers side by side; one vLLM, which gets the prompt with and without the prefix as token ids; for
`transformers`, models in one process, with the runtime of PEFT as a fourth. Each turn has a new text, so its first
request finds only that cached which stands before it. Further tokens are measured on the same text again, for one token
and for more: engines that keep prompts have it then; in `transformers` it is read in both, and its noise stays.

Figures are milliseconds of processor time of the engine (all its threads, from the scheduler), which other work on the
machine disturbs little; on one thread and a quiet machine that is what a client waits. With `--wall` they are what a
client waits: for a quiet machine, and for vLLM, whose processes spin while they wait for each other. The noise is shown
as the ratio of two halves of the base's own measurements.

    python benchmarks/engine_overhead.py --engine llama.cpp|vllm|transformers [--rounds 15] [--wall] [--root DIR]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stock_engines import VLLM, ask, base_folder, home_of, make_models, serving

from patchpm.gateway.engine import Engine

WORDS = ("river", "stone", "cloud", "table", "green", "seven", "music", "paper", "walk", "light", "house", "train")
MORE = 16
"""Further tokens that the time of one is the mean of."""
Ask = Callable[[str, int, int], float]
"""Sends a text of so many users at once, for so many tokens; returns milliseconds."""


def main() -> None:
    """Take turns, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("build/engines"), help="where models are made and kept")
    parser.add_argument("--engine", choices=list(_OPENING), required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--lengths", default="32,256,1024")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--wall", action="store_true")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("the noise is known from two rounds on")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    root = options.root.absolute()
    dice = random.Random(0)
    with _OPENING[options.engine](root, wall=options.wall) as sides:
        for length in map(int, options.lengths.split(",")):
            for batch in map(int, options.batches.split(",")):
                _compare(options.engine, sides, length, batch, options.rounds, dice)


def _compare(engine: str, sides: dict[str, Ask], length: int, batch: int, rounds: int, dice: random.Random) -> None:
    first: dict[str, list[float]] = {name: [] for name in sides}
    each: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        text = " ".join(dice.choice(WORDS) for _ in range(length))
        for name in dice.sample(list(sides), len(sides)):
            new, again, more = (sides[name](text, batch, tokens) for tokens in (1, 1, 1 + MORE))
            if turn:  # the first one warms the caches
                first[name].append(new)
                each[name].append((more - again) / MORE)
    for what, times in (("first token", first), ("each more", each)):
        base = statistics.median(times["base"])
        halves = statistics.median(times["base"][::2]) / statistics.median(times["base"][1::2])
        shown = ", ".join(
            f"{name} x{statistics.median(found) / base:.3f}" for name, found in times.items() if name != "base"
        )
        print(
            f"{engine} prompt {length:4} batch {batch} {what:11}: base {base:7.1f} ms, {shown}; "
            f"base against itself x{halves:.3f}",
            flush=True,
        )


@contextmanager
def _llama(root: Path, *, wall: bool) -> Iterator[dict[str, Ask]]:
    """Two servers, each with as many slots as users."""
    more = ("--ctx-size", "16384", "--parallel", "8", "--threads", "1")
    with (
        serving("llama.cpp", make_models(root, "none").quantised, *more) as base,
        serving("llama.cpp", make_models(root, "three").quantised, *more) as patched,
        ThreadPoolExecutor(8) as pool,
    ):

        def side(engine: Engine) -> Ask:
            def one(text: str, tokens: int) -> None:
                messages = [{"role": "user", "content": text}]
                ask(engine.url, messages=messages, max_tokens=tokens, temperature=0, ignore_eos=True)

            return _at_once(engine, pool, one, wall=wall)

        yield {"base": side(base), "patched": side(patched)}


@contextmanager
def _vllm(root: Path, *, wall: bool) -> Iterator[dict[str, Ask]]:
    """One engine on the exported model, asked with the prefix and without."""
    from transformers import AutoTokenizer

    models = make_models(root, "three")
    tokenizers: dict[str, Any] = {
        "base": AutoTokenizer.from_pretrained(base_folder()),
        "patched": AutoTokenizer.from_pretrained(models.folder),
    }
    with serving("vllm", models.folder, *VLLM) as engine, ThreadPoolExecutor(8) as pool:

        def side(tokenizer: Any) -> Ask:
            def one(text: str, tokens: int) -> None:
                ids = _ids(tokenizer, text)[0].tolist()
                ask(engine.url, "/v1/completions", prompt=ids, max_tokens=tokens, temperature=0, ignore_eos=True)

            return _at_once(engine, pool, one, wall=wall)

        yield {name: side(tokenizer) for name, tokenizer in tokenizers.items()}


@contextmanager
def _transformers(root: Path, *, wall: bool) -> Iterator[dict[str, Ask]]:
    """In one process: the base, the export, `patchpm.apply`, and PEFT with the same rows. Nothing is cached here."""
    import torch
    from peft import PromptTuningConfig, TaskType, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import patchpm
    from patchpm.cli.locked_set import locked_set

    torch.set_num_threads(1)
    clock = time.perf_counter if wall else time.thread_time
    models = make_models(root, "three")

    def loaded(folder: Path) -> Any:
        made: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        made.generation_config.eos_token_id = None
        return made, AutoTokenizer.from_pretrained(folder)

    def side(model: Any, tokenizer: Any) -> Ask:
        def asked(text: str, batch: int, tokens: int) -> float:
            ids = _ids(tokenizer, text).expand(batch, -1)
            before = clock()
            with torch.no_grad():
                model.generate(
                    input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False
                )
            return (clock() - before) * 1000

        return asked

    applied, peft = loaded(base_folder()), loaded(base_folder())
    with home_of(root):
        patchpm.apply(*applied, project=models.project)
        rows = torch.cat([patch.rows.float() for patch in locked_set(models.project, None).patches.patches])
    tuned: Any = get_peft_model(peft[0], PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=len(rows)))
    tuned.prompt_encoder.default.embedding.weight.data.copy_(rows)
    yield {
        "base": side(*loaded(base_folder())),
        "export": side(*loaded(models.folder)),
        "apply": side(*applied),
        "peft": side(tuned, peft[1]),
    }


def _at_once(engine: Engine, pool: ThreadPoolExecutor, one: Callable[[str, int], None], *, wall: bool) -> Ask:
    """Several users at once, and how long they wait or what they cost the engine."""

    def clock() -> float:
        return time.perf_counter() * 1000 if wall else _processor_time(engine.keeper)

    def asked(text: str, batch: int, tokens: int) -> float:
        before = clock()
        list(pool.map(one, [f"{number} {text}" for number in range(batch)], [tokens] * batch))
        return clock() - before

    return asked


def _processor_time(process: int) -> float:
    """Milliseconds that a process, its threads and all below it have run."""
    total = 0.0
    for task in Path(f"/proc/{process}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0]) / 1e6
        total += sum(_processor_time(int(child)) for child in (task / "children").read_text().split())
    return total


def _ids(tokenizer: Any, text: str) -> Any:
    conversation = [{"role": "user", "content": text}]
    given = tokenizer.apply_chat_template(
        conversation, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    return given["input_ids"]


_OPENING = {"llama.cpp": _llama, "vllm": _vllm, "transformers": _transformers}


if __name__ == "__main__":
    main()
