"""What `/.well-known/patchpm` answers: the gateway's word on what it serves to whoever asks, signed."""

from __future__ import annotations

from datetime import UTC, datetime

from patchpm.gateway.guarding import last
from patchpm.gateway.refusal import malformed
from patchpm.gateway.roster import Tenant
from patchpm.gateway.site import Site
from patchpm.guard.attestation import Fingerprinted, ServedPatch, Serving, is_nonce, write_attestation
from patchpm.patch.digest import Digest


def own_statement(site: Site, tenant: Tenant, nonce: str | None) -> bytes:
    """Sign what a tenant is served now.

    Args:
        site: The gateway.
        tenant: Who asks.
        nonce: What the client sent to see that the answer is not an old one.

    Raises:
        RefusedError: 400 for something else than a nonce.
    """
    if nonce is not None and not is_nonce(nonce):
        raise malformed("nonce must be 1 to 128 letters, digits, - and _", param="nonce")
    patches = tenant.injection.patches
    checked = last(site.upstreams.all, patches.digest)
    engines = {upstream.version for upstream in site.upstreams.ready if upstream.version}
    serving = Serving(
        base=Digest.parse(site.roster.current.base),
        anchor=patches.anchor,
        patches=tuple(ServedPatch(one.name, one.version, one.digest) for one in patches.patches),
        engine=", ".join(sorted(engines)) or "unknown",
        fingerprint=None if checked is None else Fingerprinted.of(checked.finding, checked.at),
        time=datetime.now(UTC),
        nonce=nonce,
    )
    return write_attestation(serving, site.signer)
