"""The page of a patch on the Hub: a model card made from its signed manifest, and the picture of its claims.

The card is for people and for search. Nothing of it is trusted: who installs checks the signed files.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from patchpm.errors import UsageError
from patchpm.patch.manifest import Claim, Manifest
from patchpm.patch.version import Version
from patchpm.registry.hub_address import PUBLIC

CARD: Final = "README.md"
PICTURE: Final = "before-after.svg"
_ROW, _LABEL, _BAR = 46, 250, 420
"""Pixels: height of a claim, width of its name, length of the scale."""
_PAGE: Final = """# {name} {version}

{summary}.

A safety patch for patchpm: a learned prefix of {tokens} vectors in front of the embeddings of the frozen model {base}.
The model's weights stay as they are.

## Use

```sh
patchpm init --base PATH_OF_MODEL
patchpm install {name}@{version}
```

```python
import patchpm

patchpm.apply(model, tokenizer)
```

Each release has the tag `v<version>+<base>` and a folder of its own; this one is `{folder}/`. Install it with patchpm,
which checks signatures and digests. This page is not signed."""
_FIGURES: Final = """## What it does

![Claims without and with the patch]({picture})

| metric | held-out suite | n | without | with | 95 % interval |
|---|---|---:|---:|---:|---:|
{rows}

The vendor's figures; `patchpm verify --claims` measures them again."""


def card_of(manifest: Manifest, folder: str, known: ModelCardData | None) -> dict[str, bytes]:
    """The card, and the picture in it.

    Args:
        manifest: Of the release that is being published.
        folder: Where its files stand in the repository.
        known: Front matter of the card that is there already. What bases it
            names, the new one names too.
    """
    tags = ["patchpm", f"safety-domain:{manifest.domain}", f"patch-version:{manifest.version}"]
    bases = sorted({*_listed(known, "base_model"), _base_model(manifest)})
    data = ModelCardData(
        base_model=bases,
        license=_licence(manifest.licence),
        library_name="patchpm",
        tags=tags,
        model_name=str(manifest.name),
        eval_results=[_result(claim) for claim in manifest.claims] or None,
        base_model_relation="adapter",
    )
    card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_text(manifest, folder)}")
    return {CARD: str(card).encode(), PICTURE: picture_of(manifest.claims).encode()}


def is_newest(manifest: Manifest, known: ModelCardData | None) -> bool:
    """Whether a card of this release would not replace that of a newer version."""
    for tag in _listed(known, "tags"):
        if tag.startswith("patch-version:"):
            try:
                return Version.parse(tag.removeprefix("patch-version:")).precedence <= manifest.version.precedence
            except UsageError:
                return True  # someone wrote it by hand
    return True


def picture_of(claims: Sequence[Claim]) -> str:
    """Claims before and after, as SVG: a grey bar, and a blue one with its 95 % interval.

    Of each metric the first claim, which is that of its whole suite; none that can be below zero, where bars mislead.
    """
    first = {claim.metric: claim for claim in reversed(claims)}
    claims = [claim for claim in claims if first[claim.metric] is claim and min(claim.before, claim.low) >= 0]
    width, height = _LABEL + _BAR + 110, _ROW * len(claims) + 30
    size = f'viewBox="-8 0 {width} {height}" width="{width}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif" font-size="13">',
        f'<rect x="-8" width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LABEL}" y="18" fill="#6b7280">without the patch</text>',
        f'<text x="{_LABEL + 140}" y="18" fill="#2563eb">with it, and the 95 % interval</text>',
    ]
    for number, claim in enumerate(claims):
        scale = _BAR / (1.0 if _is_share(claim.metric) else max(claim.before, claim.high, 1e-9))
        lines += _bars(claim, 30 + number * _ROW, scale)
    return "\n".join([*lines, "</svg>\n"])


def _bars(claim: Claim, top: int, scale: float) -> list[str]:
    def across(value: float) -> float:
        return round(_LABEL + min(max(value * scale, 0), _BAR), 1)

    low, high, middle = across(claim.low), across(claim.high), top + 25
    ends = f"M{low} {middle}H{high}M{low} {middle - 4}v8M{high} {middle - 4}v8"
    return [
        f'<text x="0" y="{top + 14}" fill="#111827">{escape(claim.metric)}</text>',
        f'<text x="0" y="{top + 29}" fill="#6b7280" font-size="11">{escape(claim.suite)}, n = {claim.n:,}</text>',
        f'<rect x="{_LABEL}" y="{top + 4}" width="{across(claim.before) - _LABEL:.1f}" height="11" fill="#9ca3af"/>',
        f'<rect x="{_LABEL}" y="{top + 19}" width="{across(claim.after) - _LABEL:.1f}" height="12" fill="#2563eb"/>',
        f'<path d="{ends}" stroke="#1e3a8a" fill="none"/>',
        f'<text x="{_LABEL + _BAR + 8}" y="{top + 14}" fill="#6b7280">{_shown(claim.metric, claim.before)}</text>',
        f'<text x="{_LABEL + _BAR + 8}" y="{top + 30}" fill="#2563eb">{_shown(claim.metric, claim.after)}</text>',
    ]


def _text(manifest: Manifest, folder: str) -> str:
    training = manifest.training
    data = [f"- {source.name} ({source.licence})" for source in training.data]
    links = [f"- [{label}]({address})" for label, address in manifest.links]
    parts = [
        _PAGE.format(
            name=manifest.name,
            version=manifest.version,
            summary=manifest.summary,
            tokens=manifest.prefix.tokens,
            base=manifest.base.name,
            folder=folder,
        )
    ]
    if manifest.claims:
        parts.append(_FIGURES.format(picture=PICTURE, rows="\n".join(map(_row, manifest.claims))))
    parts.append(
        f"## How it was made\n\n{training.method}. Teacher: {training.teacher}. Seed {training.seed}, "
        f"recipe `{training.recipe}`, {training.code}."
    )
    if data:
        parts.append("Training data:\n\n" + "\n".join(data))
    if links:
        parts.append("## Links\n\n" + "\n".join(links))
    return "\n\n".join(parts) + "\n"


def _row(claim: Claim) -> str:
    before, after, low, high = (_shown(claim.metric, x) for x in (claim.before, claim.after, claim.low, claim.high))
    return f"| {claim.metric} | {claim.suite} | {claim.n:,} | {before} | {after} | {low} to {high} |"


def _result(claim: Claim) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        dataset_type=claim.suite,
        dataset_name=claim.suite,
        metric_type=claim.metric,
        metric_name=f"{claim.metric} (without the patch {claim.before:.4g})",
        metric_value=claim.after,
    )


def _listed(known: ModelCardData | None, key: str) -> list[str]:
    found = None if known is None else known.get(key)
    values = found if isinstance(found, list) else [found]
    return [item for item in values if isinstance(item, str)]


def _base_model(manifest: Manifest) -> str:
    """The Hub's name for the base: that of the link called `base`, if there is one, and else the manifest's."""
    address = dict(manifest.links).get("base", "")
    on_hub = address.removeprefix(f"{PUBLIC}/").strip("/")
    return on_hub if on_hub != address and on_hub.count("/") == 1 else manifest.base.name


def _licence(spdx: str) -> str:
    # The Hub knows single licences in lower case; an expression is shown as it is.
    return spdx.lower() if " " not in spdx else "other"


def _is_share(metric: str) -> bool:
    return metric.endswith(("-rate", "-accuracy"))


def _shown(metric: str, value: float) -> str:
    return f"{100 * value:.1f} %" if _is_share(metric) else f"{value:.3g}"
