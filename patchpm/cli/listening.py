"""The socket that a server of patchpm listens at."""

from __future__ import annotations

import socket

from patchpm.errors import CannotError

_BACKLOG = 2048


def listening(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Raises:
        CannotError: `cannot-listen`.
    """
    opened = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        # Without the protocol named, asyncio would leave small answers waiting for acknowledgements.
        opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:
        if opened is not None:
            opened.close()
        raise CannotError(
            "cannot-listen",
            f"the server cannot listen at {host} port {port}",
            why=getattr(error, "strerror", None) or str(error),
            next="is another server running there? --port takes another number, and --port 0 any that is free",
        ) from None
    opened.set_inheritable(True)
    return opened


def shown(host: str, opened: socket.socket) -> str:
    """The address of an open socket as a client writes it."""
    return f"http://{f'[{host}]' if ':' in host else host}:{opened.getsockname()[1]}"
