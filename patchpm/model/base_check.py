"""The check before anything is applied: are these patches made for this model, tokenizer, template and anchor?"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from patchpm.errors import IntegrityError, UsageError
from patchpm.model.causal_lm import Tokenizer, text_config_of
from patchpm.model.loaded import LoadedPatch
from patchpm.model.tokenizer_digest import template_digest_of, tokenizer_digest_of
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import Fingerprint
from patchpm.patch.manifest import ANCHORS


def check_set(patches: Sequence[LoadedPatch], anchor: str) -> None:
    """Refuse a set that cannot be applied to any model.

    Raises:
        UsageError: `no-patches`, `duplicate-patch`, `unknown-anchor`, `anchor-not-trained`.
    """
    if not patches:
        raise UsageError("no-patches", "there is no patch to apply", next="install one first: patchpm install NAME")
    names = [str(patch.name) for patch in patches]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError("duplicate-patch", f"{', '.join(twice)} is given twice", why="a patch stands once in a set")
    if anchor not in ANCHORS:
        raise UsageError("unknown-anchor", f"{anchor!r} is no anchor", why=f"there are {' and '.join(ANCHORS)}")
    for patch in patches:
        if anchor not in patch.anchors:
            raise UsageError(
                "anchor-not-trained",
                f"{patch.name} is not made for the anchor {anchor}",
                why=f"it was trained and measured at {', '.join(patch.anchors)}",
                next=f"apply it with anchor={patch.anchors[0]!r}" if patch.anchors else None,
            )


def check_base(
    model: nn.Module, tokenizer: Tokenizer, patches: Sequence[LoadedPatch], anchor: str, found: Fingerprint | None
) -> None:
    """Refuse a model that is not the one the patches were trained on.

    Args:
        model: Not changed.
        tokenizer: Not changed.
        patches: The set.
        anchor: Where they go; the chat template matters at `system-start` only.
        found: The model's fingerprint where it is known; None to hash the weights in memory now.

    Raises:
        IntegrityError: `base-mismatch`, `tokenizer-mismatch`, `template-mismatch`.
    """
    _check_width(patches, int(text_config_of(model).hidden_size))
    if found is None:
        from patchpm.model.memory import fingerprint_of_model

        found = fingerprint_of_model(model)
    check_files(found, tokenizer, patches, anchor)


def check_files(found: Fingerprint, tokenizer: Tokenizer, patches: Sequence[LoadedPatch], anchor: str) -> None:
    """The same for a model that is measured and not loaded.

    Raises:
        IntegrityError: `base-mismatch`, `tokenizer-mismatch`, `template-mismatch`.
    """
    _check_width(patches, found.hidden_size)
    tokens, template = tokenizer_digest_of(tokenizer), template_digest_of(tokenizer)
    for patch in patches:
        if patch.base.match(found) is None:
            raise _mismatch(patch, f"its base has the weights {patch.base.tensors}, this model {found.tensors}")
        _same(patch, "tokenizer", patch.base.tokenizer, tokens)
        if anchor == "system-start":
            _same(patch, "template", patch.base.template, template)


def _check_width(patches: Sequence[LoadedPatch], width: int) -> None:
    for patch in patches:
        for size in (patch.base.hidden_size, int(patch.rows.shape[1])):
            if size != width:
                raise _mismatch(patch, f"the patch is {size:,} wide and the model's embedding {width:,}")


def _same(patch: LoadedPatch, what: str, expected: Digest | None, found: Digest | None) -> None:
    if expected is not None and expected != found:
        name = "chat template" if what == "template" else what
        raise IntegrityError(
            f"{what}-mismatch",
            f"the {name} is not the one {patch.name} was made with",
            why=f"expected {expected}, found {found or 'none'}",
            next=f"load the {name} that comes with {patch.base.name}",
        )


def _mismatch(patch: LoadedPatch, why: str) -> IntegrityError:
    return IntegrityError(
        "base-mismatch",
        f"{patch.name} {patch.version} is not made for this model",
        why=f"{why}; the patch is made for {patch.base.name}",
        next="load that base, or install the release of the patch for the model you run",
    )
