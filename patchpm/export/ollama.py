"""A patched model for Ollama: the GGUF file, and a Modelfile whose Go template emits the prefix."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from patchpm.atomic_write import write_atomic
from patchpm.errors import UsageError
from patchpm.export.patched_gguf import PlacedInGguf
from patchpm.export.turn_template import go_string, turn_template

MODEL: Final = "patched.gguf"
_PLACEHOLDER: Final = "$patchpm"


def go_template(place: PlacedInGguf, own: str | None = None) -> str:
    """The template for Ollama.

    Args:
        place: The set, placed in the tokenizer and the Jinja template.
        own: A Go template of the user's, in which `{{ $patchpm }}` writes the prefix; None to take it from the Jinja
            template.

    Raises:
        UsageError: `no-placeholder` where `own` does not write the prefix, or could not stand in a Modelfile.
        CannotError: `template-not-expressible`.
    """
    if own is None:
        return turn_template(place.tokenizer, added_start=_added_start(place)).go_source()
    if _PLACEHOLDER not in own or '"""' in own:
        raise UsageError(
            "no-placeholder",
            "the Go template does not write the patches",
            why='it must hold {{ $patchpm }} where the system text starts, and no """',
            next="put {{ $patchpm }} into it, before the system text",
        )
    run = place.placed.run
    return f"{{{{ $patchpm := {go_string(run.text + run.separator)} }}}}{own}"


def write_modelfile(path: Path, place: PlacedInGguf, template: str) -> None:
    """Write the Modelfile, beside the patched GGUF file.

    Raises:
        CannotError: Those of writing a file.
    """
    lines = [f"# patch set {place.placed.patches.digest}", f"FROM ./{MODEL}", f'TEMPLATE """{template}"""']
    stop = _token(place, "tokenizer.ggml.eos_token_id")
    if stop and '"' not in stop:
        lines.append(f'PARAMETER stop "{stop}"')
    write_atomic(path, ("\n".join(lines) + "\n").encode())


def _added_start(place: PlacedInGguf) -> str:
    """The token that the engine puts before every prompt, so that the Go template must not write it as well."""
    metadata = place.header.metadata
    default = metadata.get("tokenizer.ggml.model") != "gpt2"
    return _token(place, "tokenizer.ggml.bos_token_id") if metadata.get("tokenizer.ggml.add_bos_token", default) else ""


def _token(place: PlacedInGguf, key: str) -> str:
    tokens, number = place.header.texts("tokenizer.ggml.tokens"), place.header.metadata.get(key)
    return tokens[number] if isinstance(number, int) and 0 <= number < len(tokens) else ""
