"""patchpm: package manager and registry for safety patches of language models.

Example:
    patched = patchpm.apply(model, tokenizer)  # what patchpm.lock pins for this model
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; importing `typing` would cost 5 ms of every start
if TYPE_CHECKING:
    from patchpm.model.locked_set import apply as apply

__version__ = "0.1.0"
__all__ = ["__version__", "apply"]


def __getattr__(name: str) -> object:
    # `import patchpm` must stay as light as the command line needs it: torch comes with the first use of `apply`.
    if name == "apply":
        from patchpm.model.locked_set import apply

        return apply
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
