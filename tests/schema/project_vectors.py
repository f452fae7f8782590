"""Good and bad project files."""

from __future__ import annotations

from typing import Final

_GOOD: Final = {
    "smallest": """\
[bases]

[patches]
""",
    "everything-filled-in": """\
# What we need.
[bases]
small = "../models/SmolLM2-135M-Instruct"
"small.q4" = "models/small-q4_k_m.gguf"
hub = "hf:HuggingFaceTB/SmolLM2-135M-Instruct@main"

[patches]
"acme/toxicity" = "^1.2"   # since 1.2 it knows German
"acme/core" = ">=1.2.3-rc.1, <2 || 3.x"
"patchpm/harmfulness" = "*"

[compose]
anchor = "text-start"
max-tokens = 4096
""",
    "dotted-keys": """\
bases.tiny = "m"
patches."a/b" = "1 - 2"
compose.max-tokens = 1
""",
}

_BAD: Final = {
    "empty": "",
    "not-toml": "bases: {}\n",
    "duplicate-key": '[bases]\ntiny = "m"\ntiny = "n"\n[patches]\n',
    "duplicate-patch-in-other-quotes": "[bases]\n[patches]\n\"a/b\" = \"1\"\n'a/b' = '2'\n",
    "no-bases": '[patches]\n"a/b" = "1"\n',
    "no-patches": '[bases]\ntiny = "m"\n',
    "surplus-table": "[bases]\n[patches]\n[registry]\n",
    "surplus-key-in-compose": "[bases]\n[patches]\n[compose]\norder = []\n",
    "bases-is-a-list": 'bases = ["m"]\n[patches]\n',
    "base-location-empty": '[bases]\ntiny = ""\n[patches]\n',
    "base-location-with-escape": '[bases]\ntiny = "m\\u001b[31m"\n[patches]\n',
    "base-label-upper-case": '[bases]\nTiny = "m"\n[patches]\n',
    "base-label-is-a-path": '[bases]\n"../tiny" = "m"\n[patches]\n',
    "base-label-of-65-characters": f'[bases]\n{"a" * 65} = "m"\n[patches]\n',
    "patch-without-vendor": '[bases]\n[patches]\ntoxicity = "1"\n',
    "patch-of-a-tuf-role": '[bases]\n[patches]\n"targets/toxicity" = "1"\n',
    "patch-homoglyph": '[bases]\n[patches]\n"acme/t\u043exicity" = "1"\n',
    "range-is-a-number": '[bases]\n[patches]\n"a/b" = 1\n',
    "range-is-a-float": '[bases]\n[patches]\n"a/b" = 1.2\n',
    "range-is-a-date": '[bases]\n[patches]\n"a/b" = 2026-11-24\n',
    "range-is-a-table": '[bases]\n[patches]\n"a/b" = { version = "1" }\n',
    "range-is-a-word": '[bases]\n[patches]\n"a/b" = "latest"\n',
    "range-with-two-operators": '[bases]\n[patches]\n"a/b" = "^=1"\n',
    "range-number-after-x": '[bases]\n[patches]\n"a/b" = "x.1"\n',
    "anchor-unknown": '[bases]\n[patches]\n[compose]\nanchor = "start"\n',
    "max-tokens-zero": "[bases]\n[patches]\n[compose]\nmax-tokens = 0\n",
    "max-tokens-4097": "[bases]\n[patches]\n[compose]\nmax-tokens = 4097\n",
    "max-tokens-is-text": '[bases]\n[patches]\n[compose]\nmax-tokens = "256"\n',
    "max-tokens-written-256.0": "[bases]\n[patches]\n[compose]\nmax-tokens = 256.0\n",
}

UNSEEN: Final = {
    "not-toml.toml": "no document",
    "duplicate-key.toml": "no TOML: a key stands twice",
    "duplicate-patch-in-other-quotes.toml": "no TOML: a key stands twice",
    "range-number-after-x.toml": "a number after an x",
    "max-tokens-written-256.0.toml": "an integer written as a float",
}


def good() -> dict[str, bytes]:
    """File name to bytes."""
    return {f"{name}.toml": text.encode() for name, text in _GOOD.items()}


def bad() -> dict[str, bytes]:
    """File name to bytes; each has one fault."""
    return {f"{name}.toml": text.encode() for name, text in _BAD.items()}
