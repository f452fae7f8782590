"""How often the guard sees a wrong patch set, and how often it cries wolf.

    patchpm probe --project PROJECT
    python benchmarks/guard.py PROJECT --out results.json

Served are, class by class: the right set; none; halves of its rows; its patches in other orders, and its rows shuffled
within each patch; other patches (earlier releases, foreign tasks, one patch of the set replaced). Rows with noise added
show how small a change is seen.
Answers are computed once for each served set, probe and arithmetic. A trial then draws a served set, and 3 or more of
the reference's probes, and judges them with the reference of float32. So the trials of a class are not independent:
they share its served sets, whose number is printed with them. Token counts are withheld: only the answers count.

With `--gguf STOCK`, answers come from llama.cpp instead, in whatever bits that file has: each served set is exported,
and its file is served and asked over HTTP. With `--vllm DTYPE` they come from one vLLM of that number type, and the set
goes with each request, as from the gateway. Both need the engines of `PATCHPM_ENGINES_BIN`.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

import torch
from safetensors.torch import load_file
from stock_engines import NAME, VLLM, serving

from patchpm.cli.locked_set import locked_set
from patchpm.export.gguf_tokenizer import tokenizer_of
from patchpm.export.patched_gguf import place_in_gguf, write_patched_gguf
from patchpm.gateway.engine_template import engine_template
from patchpm.gateway.injection import EmbedsInjection
from patchpm.gateway.prompt_count import PromptCounter
from patchpm.guard.distribution import Distribution
from patchpm.guard.endpoint import Endpoint
from patchpm.guard.fewer_bits import ARITHMETICS
from patchpm.guard.in_process import ProbedModel
from patchpm.guard.interview import Observation, interview
from patchpm.guard.reference import Hypothesis, Reference
from patchpm.guard.reference_json import FILE, read_references
from patchpm.guard.verdict import Finding, judge
from patchpm.model.chat import load_model
from patchpm.model.loaded import PatchSet
from patchpm.patch.digest import Digest

RECIPES = Path(__file__).parents[1] / "recipes"


@dataclass(frozen=True, eq=False)
class Served:
    """A set that a server might have."""

    kind: str
    name: str
    patches: PatchSet | None


@dataclass(frozen=True)
class Seen:
    """What some arithmetic or engine answered under one served set: one list a probe of the reference."""

    kind: str
    name: str
    answers: tuple[Distribution, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--arithmetic", nargs="*", default=["float32", *ARITHMETICS])
    engine = parser.add_mutually_exclusive_group()
    engine.add_argument("--gguf", type=Path, metavar="STOCK")
    engine.add_argument("--vllm", choices=("float32", "bfloat16"))
    parser.add_argument("--variants", type=int, default=12, help="most random variants of one kind")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    chosen = locked_set(options.project, None)
    references = read_references((options.project / FILE).read_bytes())
    reference = next(one for one in references if one.set == chosen.patches.digest)
    print(f"{', '.join(reference.patches)}: {len(reference.probes)} probes, threshold {reference.threshold}")
    report: dict[str, Any] = {"patches": list(reference.patches), "threshold": reference.threshold, "found": {}}
    every = list(served_sets(chosen.patches, options.variants))
    if options.gguf is not None:
        seen = [from_llama_cpp(options.gguf, one, reference) for one in every]
        report["found"][f"llama.cpp, {options.gguf.name}"] = trials(reference, seen, options.trials)
    elif options.vllm is not None:
        seen = from_vllm(chosen.base.source, options.vllm, every, reference)
        report["found"][f"vLLM, {options.vllm}"] = trials(reference, seen, options.trials)
    else:
        for arithmetic in options.arithmetic:
            seen = computed(chosen.base.source, arithmetic, every, reference)
            report["found"][arithmetic] = trials(reference, seen, options.trials)
    for name, found in report["found"].items():
        show(name, found)
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


def served_sets(right: PatchSet, variants: int) -> Iterator[Served]:
    """Everything that is served in the trials."""
    draw = random.Random(0)
    torch.manual_seed(0)
    own = right.patches
    yield Served("right", "right", right)
    yield Served("stripped", "stripped", None)
    for share in ("first", "second", "even", "odd"):
        yield Served("half-stripped", f"{share} rows of each", _each(right, partial(_half, share=share)))
    for number in range(variants):
        yield Served("half-stripped", f"random {number}", _each(right, lambda rows: rows[_some(rows, draw)]))
    for order in permutations(own):
        if order != own:
            yield Served("reordered", ", ".join(patch.name.name for patch in order), replace(right, patches=order))
    for number in range(variants):
        yield Served("reordered", f"rows shuffled {number}", _each(right, lambda rows: rows[torch.randperm(len(rows))]))
    locked = {str(patch.digest) for patch in own}
    for path in sorted(RECIPES.rglob("*.safetensors")):
        if str(Digest.of(path.read_bytes())) not in locked:
            rows = load_file(path)["prefix"]
            label = str(path.relative_to(RECIPES).with_suffix("")).removesuffix("/prefix")
            alone = replace(own[0], rows=rows)
            yield Served("foreign", f"{label} alone", replace(right, patches=(alone,)))
            if len(own) > 1:
                at = draw.randrange(len(own))
                mixed = (*own[:at], replace(own[at], rows=rows), *own[at + 1 :])
                yield Served("foreign", f"{label} for {own[at].name.name}", replace(right, patches=mixed))
    for part in (0.1, 0.3, 1.0):
        yield Served("perturbed", f"noise of {part:.0%}", _each(right, partial(_noisy, share=part)))


def _each(patches: PatchSet, change: Callable[[torch.Tensor], torch.Tensor]) -> PatchSet:
    return replace(patches, patches=tuple(replace(one, rows=change(one.rows)) for one in patches.patches))


def _half(rows: torch.Tensor, share: str) -> torch.Tensor:
    middle = len(rows) // 2
    halves = {"first": rows[:middle], "second": rows[middle:], "even": rows[::2], "odd": rows[1::2]}
    return halves[share]


def _some(rows: torch.Tensor, draw: random.Random) -> list[int]:
    return sorted(draw.sample(range(len(rows)), len(rows) // 2))


def _noisy(rows: torch.Tensor, share: float) -> torch.Tensor:
    noise = torch.randn(rows.shape)
    scale = torch.linalg.vector_norm(rows, dim=1, keepdim=True) / torch.linalg.vector_norm(noise, dim=1, keepdim=True)
    noisy: torch.Tensor = rows.float() + share * scale * noise
    return noisy


def computed(folder: Path, arithmetic: str, every: Sequence[Served], reference: Reference) -> list[Seen]:
    """Ask the base in process."""
    model, tokenizer = load_model(folder)
    model.float()
    if arithmetic != "float32":
        ARITHMETICS[arithmetic](model)
    asked = ProbedModel(model, tokenizer, [probe.messages for probe in reference.probes])
    seen = []
    started = time.process_time()
    for number, one in enumerate(every):
        seen.append(Seen(one.kind, one.name, tuple(asked.first_tokens(one.patches))))
        print(f"\r{arithmetic}: {number + 1} of {len(every)} sets", end="", flush=True)
    print(f", {time.process_time() - started:.0f} s of CPU")
    return seen


def from_llama_cpp(stock: Path, one: Served, reference: Reference) -> Seen:
    """Export a set, serve it as patchpm starts llama.cpp, and ask."""
    with tempfile.TemporaryDirectory() as folder:
        path, nobody = stock, Digest.of(b"not the base of any lock")
        if one.patches is not None:
            path = Path(folder) / "served.gguf"
            write_patched_gguf(place_in_gguf(stock, one.patches), path, nobody, untie=True)
        with serving("llama.cpp", path, "--ctx-size", "4096", "--threads", "1") as running:
            return _asked(Endpoint(running.url).complete, one, reference)


def from_vllm(folder: Path, dtype: str, every: Sequence[Served], reference: Reference) -> list[Seen]:
    """Serve the base, and send each set with the requests, as the gateway does."""
    tokenizer = tokenizer_of(folder)
    counter = PromptCounter(tokenizer)
    none = PatchSet("system-start", ())
    with tempfile.TemporaryDirectory() as work:
        template = Path(work) / "engine.jinja"
        template.write_text(engine_template(tokenizer))
        more = ("--enable-prompt-embeds", "--chat-template", str(template), "--chat-template-content-format", "openai")
        with serving("vllm", folder, *VLLM, "--dtype", dtype, *more) as running:
            endpoint = Endpoint(running.url, seconds=120)

            def seen(one: Served) -> Seen:
                injection = EmbedsInjection.of(one.patches or none, counter)
                return _asked(
                    lambda body: endpoint.complete(injection.body(injection.prepared(json.loads(body)))), one, reference
                )

            return [seen(one) for one in every]


def _asked(complete: Callable[[bytes], bytes], one: Served, reference: Reference) -> Seen:
    steps = interview(reference.probes, NAME)
    try:
        body = next(steps)
        while True:
            body = steps.send(complete(body))
    except StopIteration as end:
        observed: list[Observation] = end.value
    print(f"{one.kind}: {one.name}", flush=True)
    return Seen(one.kind, one.name, tuple(seen.first_token or Distribution(()) for seen in observed))


def trials(reference: Reference, seen: Sequence[Seen], count: int) -> dict[str, Any]:
    """Draw and judge."""
    draw = random.Random(1)
    report: dict[str, Any] = {}
    for kind in dict.fromkeys(one.kind for one in seen):
        mine = [one for one in seen if one.kind == kind]
        said: Counter[str] = Counter()
        missed: Counter[str] = Counter()
        distances = []
        for _ in range(count):
            one = draw.choice(mine)
            probes = sorted(draw.sample(range(len(reference.probes)), draw.randint(3, len(reference.probes))))
            finding = judged(reference, one, probes)
            said[finding.served.kind] += 1
            distances.append(finding.distance or 0.0)
            if finding.right != (kind == "right"):
                missed[one.name] += 1
        whole = [judged(reference, one, range(len(reference.probes))) for one in mine]
        report[kind] = {
            "trials": count,
            "served sets": len(mine),
            "said": dict(said.most_common()),
            "wrong": dict(missed.most_common(6)),
            "distance": _spread(distances),
            "all probes": {
                "said": dict(Counter(one.served.kind for one in whole).most_common()),
                "distance": _spread([one.distance or 0.0 for one in whole]),
            },
        }
    return report


def judged(reference: Reference, one: Seen, probes: Sequence[int]) -> Finding:
    """The verdict on some of the probes."""
    part = replace(
        reference,
        probes=tuple(reference.probes[index] for index in probes),
        right=_part(reference.right, probes),
        alternatives=tuple(_part(other, probes) for other in reference.alternatives),
    )
    return judge(part, [Observation(one.answers[index], None, None) for index in probes])


def _part(hypothesis: Hypothesis, probes: Sequence[int]) -> Hypothesis:
    return replace(hypothesis, answers=tuple(hypothesis.answers[index] for index in probes))


def _spread(values: Sequence[float]) -> dict[str, float]:
    if len(values) == 1:
        return {"mean": round(values[0], 3)}
    cut = quantiles(values, n=100, method="inclusive")
    return {
        "least": round(min(values), 3),
        "p1": round(cut[0], 3),
        "p50": round(cut[49], 3),
        "p99": round(cut[98], 3),
        "most": round(max(values), 3),
        "mean": round(fmean(values), 3),
    }


def show(name: str, found: dict[str, Any]) -> None:
    """Print one arithmetic or engine."""
    print(f"\n{name}")
    for kind, one in found.items():
        right = one["said"].get("right", 0)
        rate = f"false alarms {one['trials'] - right}" if kind == "right" else f"detected {one['trials'] - right}"
        print(f"  {kind:14} {one['served sets']:3} sets  {rate:>18} of {one['trials']}  said {one['said']}")
        print(f"  {'':14} distance {one['distance']}")
        if one["wrong"]:
            print(f"  {'':14} wrong about {one['wrong']}")


if __name__ == "__main__":
    main()
