"""Where patchpm keeps things, and every environment variable it reads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HOME = "PATCHPM_HOME"
"""One folder for everything patchpm keeps (config, store, state, cache) instead of the platform's usual places."""
OFFLINE = "PATCHPM_OFFLINE"
"""When `1` or `true`: never ask a registry over the network, as `--offline` does."""
PASSPHRASE_FILE = "PATCHPM_PASSPHRASE_FILE"
"""A file whose first line unlocks private keys where nobody can type, as in CI."""
HUB_TOKENS = "PATCHPM_TOKENS"
"""Tokens for registry servers, as `https://host=TOKEN`, several apart by spaces; each goes to its own host only."""
HF_ENDPOINT = "HF_ENDPOINT"
"""The server that `hf://` means, as for all tools of the Hugging Face Hub."""
HF_TOKEN = "HF_TOKEN"
"""The token for that server."""
HF_HOME = "HF_HOME"
"""Where the tools of the Hub keep tokens and files."""
HF_TOKEN_PATH = "HF_TOKEN_PATH"
"""Where they keep the token of `hf auth login`."""
HF_STORED_TOKENS_PATH = "HF_STORED_TOKENS_PATH"
"""Where they keep tokens by name; `patchpm login` adds to it."""
SERVER_OPTIONS = "PATCHPM_SERVER_OPTIONS"
"""How `patchpm registry serve` tells its workers what to do; JSON."""
SERVER_LOG_LEVEL = "PATCHPM_SERVER_LOG_LEVEL"
"""The same for what they log."""
UPSTREAM_KEY = "PATCHPM_UPSTREAM_KEY"
"""The API key that the engines behind `patchpm serve` want."""
CI = "CI"
"""When `1` or `true`: a bare `patchpm install` is `--frozen`."""


def is_set(variable: str) -> bool:
    """Whether an on/off variable is on."""
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on")


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders that patchpm keeps things in. None of them has to exist."""

    config: Path
    """`policy.toml` and `keys/`: what the user decided."""
    data: Path
    """The store, and the registry state seen so far (rollback floor): what must not be lost lightly."""
    cache: Path
    """What can be made again: hashes of model files, converted demo models."""

    @property
    def store(self) -> Path:
        """The content-addressed store of releases."""
        return self.data / "store"

    @property
    def registries(self) -> Path:
        """Trusted state of each registry, one folder an alias."""
        return self.data / "registries"

    @property
    def keys(self) -> Path:
        """Private keys made by `patchpm key generate`."""
        return self.config / "keys"

    @property
    def policy(self) -> Path:
        """The user's trust policy."""
        return self.config / "policy.toml"

    @classmethod
    def of_user(cls) -> Folders:
        """The folders of this user, or those under `PATCHPM_HOME`."""
        home = os.environ.get(HOME)
        if home:
            root = Path(home).expanduser()
            return cls(root / "config", root / "data", root / "cache")
        import platformdirs

        return cls(
            platformdirs.user_config_path("patchpm"),
            platformdirs.user_data_path("patchpm"),
            platformdirs.user_cache_path("patchpm"),
        )
