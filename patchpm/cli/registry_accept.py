"""`patchpm registry accept`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.changing import forum_of, registry_option, signing_option, writer_of
from patchpm.cli.options import json_option
from patchpm.cli.output import emit, line, note, plain
from patchpm.cli.signing import load_keys, passphrase_option
from patchpm.errors import CannotError, ExitCode, IntegrityError, NetworkError, PatchpmError, TrustError, UsageError
from patchpm.registry.draft import ANY_TIME, load_role, load_state
from patchpm.registry.host import Forum, Proposal
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.tuf_metadata import MAX_BYTES, TARGETS

_OF_THE_PROPOSAL = ("already-published", "same-version", "stale-proposal", "unknown-vendor")
"""Errors that are the vendor's to mend, of those that might be the operator's."""


@click.command(
    "accept",
    epilog="Example, in a nightly job: patchpm registry accept --registry hf://corp/patchpm-registry --key online",
)
@click.argument("numbers", nargs=-1, type=click.IntRange(1), metavar="[NUMBER]...")
@registry_option
@signing_option
@passphrase_option
@json_option
def accept_command(
    numbers: tuple[int, ...], url: str, keys: tuple[str, ...], passphrase_file: Path | None, as_json: bool
) -> int:
    """Check what vendors proposed with `--pull-request`, and sign what is right; without NUMBER, all that is open.

    A proposal is taken if its vendor signed it, if all that was published stays, and if every new release verifies
    just as at an installer's. It is closed then; the reason why another one was not taken is said below it. Ends with
    exit code 6 if one was not.
    """
    writer, forum = writer_of(url, load_keys(keys, passphrase_file)), forum_of(url)
    waiting = {proposal.number: proposal for proposal in forum.proposals()}
    missing = [number for number in numbers if number not in waiting]
    if missing:
        raise CannotError("no-proposal", f"there is no open proposal {missing[0]}", why=f"open are {[*waiting]}")
    # Of all that is open, most may be pull requests about something else.
    chosen = [waiting[number] for number in numbers] or [item for item in waiting.values() if _is_known(forum, item)]
    refused = {proposal.number: _refusal(writer, forum, proposal) for proposal in chosen}

    def human() -> None:
        for proposal in chosen:
            error = refused[proposal.number]
            said = "accepted" if error is None else f"not taken: {error}"
            line(plain(f"{proposal.number}  {proposal.vendor}: {proposal.title}, from {proposal.author}: {said}"))
        if not chosen:
            note("nothing is proposed")

    emit(
        [
            {
                "number": proposal.number,
                "vendor": proposal.vendor,
                "title": proposal.title,
                "author": proposal.author,
                "accepted": refused[proposal.number] is None,
                "error": None if (error := refused[proposal.number]) is None else error.code,
            }
            for proposal in chosen
        ],
        human,
        as_json=as_json,
    )
    return ExitCode.FINDINGS if any(refused.values()) else ExitCode.OK


def _is_known(forum: Forum, proposal: Proposal) -> bool:
    """Whether the registry has the vendor that a proposal names."""
    try:
        load_role(forum, load_state(forum, ANY_TIME), proposal.vendor)
    except CannotError as error:
        if error.code != "unknown-vendor":
            raise
        return False
    return True


def _refusal(writer: RegistryWriter, forum: Forum, proposal: Proposal) -> PatchpmError | None:
    """Take a proposal, or say why not. What the operator's own side lacks ends the run."""
    try:
        role = _role(forum, proposal)
        if role is not None:
            writer.accept(proposal.vendor, role)
    except (CannotError, UsageError) as error:
        if error.code not in _OF_THE_PROPOSAL:
            raise
        return _told(forum, proposal, error)
    except NetworkError as error:  # such as a repository of the vendor's that nobody else may read
        return error
    except (IntegrityError, TrustError) as error:
        # Whose metadata has expired, the vendor's or the registry's, is not told apart: neither is the vendor's news.
        return error if error.code == "expired-metadata" else _told(forum, proposal, error)
    forum.close(proposal.number, "Checked, and signed by the registry: it can be installed now.")
    return None


def _told(forum: Forum, proposal: Proposal, error: PatchpmError) -> PatchpmError:
    forum.comment(proposal.number, f"Not taken: {error}")
    return error


def _role(forum: Forum, proposal: Proposal) -> bytes | None:
    """The vendor's role as proposed; None if it was taken already, by a run that could not close the proposal."""
    role = load_role(forum, load_state(forum, ANY_TIME), proposal.vendor)
    current = 0 if role is None else role.document.version
    data = forum.proposed(proposal.number, f"metadata/{proposal.role}.{proposal.vendor}.json", MAX_BYTES[TARGETS])
    if role is not None and proposal.role == current and data == role.document.data:
        return None
    if proposal.role == current + 1 and data is not None:
        return data
    raise CannotError(
        "stale-proposal",
        f"the proposal is for list {proposal.role} of {proposal.vendor}, and the next one is {current + 1}",
        why="another change of the vendor was taken first, or this is no proposal of `patchpm publish`",
        next="propose it again",
    )
