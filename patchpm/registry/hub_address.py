"""Addresses of registries on the Hugging Face Hub, and on servers that speak its protocol."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from patchpm.errors import UsageError
from patchpm.registry.host import plain_address
from patchpm.settings import HF_ENDPOINT

PUBLIC: Final = "https://huggingface.co"
SCHEMES: Final = ("hf", "hf+https", "hf+http")
NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_]|[.-](?=[A-Za-z0-9_])){0,95}", re.ASCII)


"""Half of a repository's name."""


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A metadata repository, and the server that it is on."""

    endpoint: str
    """`https://host[:port][/path]`, without a slash at the end."""
    repo: str
    """`organisation/name` of the model repository that holds the metadata."""

    @property
    def is_public(self) -> bool:
        """Whether the server is the public Hub."""
        return self.endpoint == PUBLIC

    def __str__(self) -> str:
        if self.is_public:
            return f"hf://{self.repo}"
        return f"hf+{self.endpoint}/{self.repo}"


def read_hub_address(url: str) -> HubAddress:
    """Read `hf://org/repo`, or `hf+https://host/org/repo` for a server of one's own.

    `hf://` means the server that `HF_ENDPOINT` names, as for all tools of the Hub, and else the public one.

    Raises:
        UsageError: `unsupported-registry`.
    """
    plain_address(url.removeprefix("hf+"))
    scheme, _, rest = url.partition("://")
    parts = rest.rstrip("/").split("/")
    server, names = parts[:-2], parts[-2:]
    endpoint = (os.environ.get(HF_ENDPOINT) or PUBLIC).rstrip("/")
    if scheme != "hf":
        endpoint = f"{scheme.removeprefix('hf+')}://{'/'.join(server)}"
    is_whole = scheme in SCHEMES and bool(server) == (scheme != "hf") and all(server)
    if not is_whole or len(names) != 2 or not all(map(NAME.fullmatch, names)):
        raise UsageError(
            "unsupported-registry",
            f"{url[:200]!r} is no address of a registry on the Hub",
            next="write it like hf://organisation/patchpm-registry, or hf+https://host/organisation/patchpm-registry "
            "for a server of your own",
        )
    return HubAddress(endpoint, "/".join(names))


def read_endpoint(url: str) -> str:
    """The address of a server itself, for signing in to it: `https://host`, or that of a registry on it.

    Raises:
        UsageError: `unsupported-registry`.
    """
    if url.partition("://")[0] in SCHEMES:
        return read_hub_address(url).endpoint
    parts = urlsplit(url)
    plain_address(url)
    if parts.scheme not in ("http", "https"):
        raise UsageError(
            "unsupported-registry", f"{url[:200]!r} is no address of a server", next="write it like https://host"
        )
    return url.rstrip("/")
