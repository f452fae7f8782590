"""Runs an evaluation harness on a patched tiny model, beside the same by explicit embeddings; prints both as JSON.

    python -m tests.engines.harness_run lm-eval FOLDER
    python -m tests.engines.harness_run inspect FOLDER

It runs in the environment of the harnesses. FOLDER is for files, and is empty at first.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import torch

from patchpm.model.apply import attach
from tests.model import reference, tiny

QUESTIONS = ("What is the capital of France?", "Is Paris the capital?")
CHOICES = ("Paris", "You are helpful")
STEPS = 6
HEAD = "<|im_start|>system\n"
TASK = """\
task: capitals
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: 0
metric_list: [{{metric: acc}}]
"""


def lm_eval(folder: Path) -> dict[str, Any]:
    """Log-likelihoods of choices, by lm-eval's `HFLM` around a model that is patched already."""
    from lm_eval import simple_evaluate  # type: ignore[import-not-found]  # the harnesses' own environment
    from lm_eval.models.huggingface import HFLM  # type: ignore[import-not-found]
    from lm_eval.tasks import TaskManager  # type: ignore[import-not-found]

    rows = [{"question": question, "choices": CHOICES} for question in QUESTIONS]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "capitals.yaml").write_text(TASK.format(data=folder / "rows.jsonl"))
    model, tokenizer, base, plain = tiny.llama(), tiny.tokenizer(), tiny.llama(), tiny.tokenizer()
    patches = [tiny.patch(tiny.base_of(model, tokenizer))]
    attach(model, tokenizer, patches)
    results = simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2),
        tasks=["capitals"],
        task_manager=TaskManager(include_path=str(folder)),
        apply_chat_template=True,
        log_samples=True,
        bootstrap_iters=0,
    )
    found: list[float] = []
    wanted: list[float] = []
    without: list[float] = []
    head = plain(HEAD)["input_ids"]
    for sample in results["samples"]["capitals"]:
        asked = sample["arguments"]
        pairs = asked.values() if isinstance(asked, dict) else asked
        for pair, answer in zip(pairs, sample["resps"], strict=True):
            context, choice = pair.values() if isinstance(pair, dict) else pair
            bare = re.sub(r"<\|patchpm:[0-9a-f]+:\d+\|>", "", context)
            # The harness counts white space at the end of a prompt as the beginning of what is to be said.
            whole, size = plain(bare + choice)["input_ids"], len(plain(bare.rstrip())["input_ids"])
            found.append(float(answer[0][0]))
            for rows_of, into in ((patches, wanted), ([], without)):
                start = reference.embeddings(base, head, rows_of, whole[len(head) :])
                with torch.no_grad():
                    logits = base(inputs_embeds=start).logits[0, -1 - len(whole) + size : -1]
                scores = logits.log_softmax(-1).gather(-1, torch.tensor(whole[size:])[:, None])
                into.append(float(scores.sum()))
    return {"found": found, "wanted": wanted, "without": without}


def inspect(folder: Path) -> dict[str, Any]:
    """Replies, by inspect-ai's own `hf` provider, whose model is patched after it has loaded it."""
    from inspect_ai import Task, eval  # type: ignore[import-not-found]  # noqa: A004  # the harness calls it so
    from inspect_ai.dataset import MemoryDataset, Sample  # type: ignore[import-not-found]
    from inspect_ai.model import get_model  # type: ignore[import-not-found]
    from inspect_ai.solver import generate  # type: ignore[import-not-found]

    tiny.llama().save_pretrained(folder / "base")
    tiny.tokenizer().save_pretrained(folder / "base")
    model = get_model("hf/base", model_path=str(folder / "base"), device="cpu", do_sample=False)
    patches = [tiny.patch(tiny.base_of(model.api.model, model.api.tokenizer))]
    attach(model.api.model, model.api.tokenizer, patches)
    task = Task(dataset=MemoryDataset([Sample(input=question) for question in QUESTIONS]), solver=generate())
    (log,) = eval(task, model=model, max_tokens=STEPS, display="none", log_dir=str(folder / "logs"))
    base, plain = tiny.llama(), tiny.tokenizer()
    return {
        "found": [sample.output.completion for sample in log.samples],
        "wanted": [by_hand(base, plain, question, patches) for question in QUESTIONS],
        "without": [by_hand(base, plain, question, []) for question in QUESTIONS],
    }


def by_hand(base: Any, plain: Any, question: str, patches: list[Any]) -> str:
    """The greedy reply over explicit embeddings."""
    chat = [{"role": "user", "content": question}]
    text = plain.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    head, ids = plain(HEAD)["input_ids"], plain(text)["input_ids"]
    start = reference.embeddings(base, head, patches, ids[len(head) :])
    reply, _ = reference.greedy(base, start, STEPS)
    return str(plain.decode(reply, skip_special_tokens=True))


if __name__ == "__main__":
    made = {"lm-eval": lm_eval, "inspect": inspect}[sys.argv[1]](Path(sys.argv[2]))
    Path(sys.argv[2], "result.json").write_text(json.dumps(made))
