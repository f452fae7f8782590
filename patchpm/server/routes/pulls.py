"""Pull requests, which the Hub keeps among its discussions."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import JSONResponse, Response

from patchpm.server.call import Call
from patchpm.server.card import CARD
from patchpm.server.history import Commit, Entry, History
from patchpm.server.pulls import Comment, Pull
from patchpm.server.refusal import RefusedError, conflict, malformed, no_revision
from patchpm.server.repository import CLOSED, MAIN, MERGED, OPEN, Card, Description, Removal, Repo, TakenError
from patchpm.server.routes.commits import card_of
from patchpm.server.routes.repos import time_of

_PAGE: Final = 50
_MAX_TEXT: Final = 65_536


def listing(call: Call) -> Response:
    """`GET /api/models/{id}/discussions`, in pages."""
    repo = call.repo()
    page = call.query.get("p", "0")
    if not page.isdecimal() or len(page) > 6:
        raise malformed("p is no number")
    if call.query.get("type") == "discussion":
        return JSONResponse({"discussions": [], "count": 0, "start": 0})
    status = call.query.get("status")
    start = int(page) * _PAGE
    known = {OPEN: OPEN, CLOSED: CLOSED}.get(status or "")
    found, count = call.site.pulls.page(repo, known, call.query.get("author"), start, _PAGE)
    return JSONResponse({"discussions": [_shown(repo, pull) for pull in found], "count": count, "start": start})


def create(call: Call) -> Response:
    """`POST /api/models/{id}/discussions`: a pull request without a commit yet."""
    repo = call.repo()
    user = _offering(call)
    wanted = call.json()
    if wanted.get("pullRequest") is not True:
        raise malformed("This registry has pull requests, and no other discussions")
    head = call.commit(repo)
    title = call.text(wanted, "title").strip()[:200]
    pull = call.site.pulls.open(repo, title, call.text(wanted, "description", "")[:_MAX_TEXT], user, head.sha)
    return JSONResponse({"num": pull.number, "pullRequest": True})


def details(call: Call) -> Response:
    """`GET /api/models/{id}/discussions/{number}`."""
    repo = call.repo()
    pull = _pull(call, repo)
    events = [_said(comment) for comment in call.site.pulls.comments(repo, pull.number)]
    return JSONResponse(
        _shown(repo, pull) | {"events": events, "changes": {"base": MAIN}, "filesWithConflicts": [], "diff": ""}
    )


def comment(call: Call) -> Response:
    """`POST …/comment`."""
    repo = call.repo()
    user = _offering(call)
    pull = _pull(call, repo)
    said = call.site.pulls.comment(repo, pull.number, user, call.text(call.json(), "comment")[:_MAX_TEXT])
    return JSONResponse({"newMessage": _said(said)})


def set_status(call: Call) -> Response:
    """`POST …/status`: close, or open again. For its author, and for whoever may write."""
    repo = call.repo()
    user = _offering(call)
    pull = _pull(call, repo)
    if pull.author != user:
        call.require_write(repo.namespace)
    wanted = call.json()
    status = call.text(wanted, "status")
    if status not in (OPEN, CLOSED):
        raise malformed("status is open or closed")
    return JSONResponse({"newStatus": _changed(call, repo, pull, status, call.text(wanted, "comment", ""))})


def merge(call: Call) -> Response:
    """`POST …/merge`: what the pull request changed, as one commit on `main`."""
    repo = call.repo(write=True)
    pull = _pull(call, repo)
    if pull.status != OPEN:
        raise conflict("The pull request is not open")
    head = call.site.ledger.find(repo, MAIN)
    tip = call.site.ledger.find(repo, f"refs/pr/{pull.number}")
    base = call.site.ledger.find(repo, pull.base)
    if head is None or tip is None or base is None:
        raise no_revision(MAIN)
    changes = _merged(call, base, tip, head)
    description = Description(f"{pull.title} (#{pull.number})", "", call.require_user())
    try:
        call.site.ledger.commit(
            repo, MAIN, changes, description, parent=head.sha, card=_card(call, changes), merges=pull.number
        )
    except TakenError:
        raise RefusedError(412, "A commit has happened since. Please try again.") from None
    return JSONResponse({"newStatus": _said_so(call, repo, pull, MERGED, "")})


def _merged(call: Call, base: Commit, tip: Commit, head: Commit) -> list[Entry | Removal]:
    with call.site.engine.connect() as db:
        history = History(db)
        before, after, now = ({entry.path: entry for entry in history.files(at)} for at in (base, tip, head))
    changes: list[Entry | Removal] = []
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) == after.get(path):
            continue
        if now.get(path) not in (before.get(path), after.get(path)):
            raise conflict(f"{path} was changed on {MAIN} as well")
        wanted = after.get(path)
        changes.append(Removal(path) if wanted is None else wanted)
    return changes


def _card(call: Call, changes: list[Entry | Removal]) -> Card | None:
    """The card that a merge brings along; None where it leaves README.md alone."""
    for change in changes:
        if change.path != CARD:
            continue
        if not isinstance(change, Entry) or change.lfs:
            return card_of(None)
        return card_of(b"".join(call.site.blobs.read(change.sha256, 0, change.size)))
    return None


def _changed(call: Call, repo: Repo, pull: Pull, status: str, said: str) -> dict[str, Any]:
    if not call.site.pulls.set_status(repo, pull.number, status):
        raise conflict("The pull request is merged")
    return _said_so(call, repo, pull, status, said)


def _said_so(call: Call, repo: Repo, pull: Pull, status: str, said: str) -> dict[str, Any]:
    user = call.require_user()
    text = f"{said[:_MAX_TEXT]}\n\n({status} by {user})".strip()
    made = call.site.pulls.comment(repo, pull.number, user, text)
    return _event(made) | {"type": "status-change", "data": {"status": status}}


def _offering(call: Call) -> str:
    user = call.require_user()
    if not call.caller.may_offer(call.path["namespace"]):
        raise RefusedError(403, "This token may not take part in this repository")
    return user


def _pull(call: Call, repo: Repo) -> Pull:
    number = call.path["number"]
    found = call.site.pulls.get(repo, int(number)) if number.isdecimal() and len(number) < 10 else None
    if found is None:
        raise RefusedError(404, f"There is no pull request {number[:20]}")
    return found


def _shown(repo: Repo, pull: Pull) -> dict[str, Any]:
    return {
        "num": pull.number,
        "title": pull.title,
        "author": {"name": pull.author},
        "status": pull.status,
        "createdAt": time_of(pull.created),
        "isPullRequest": True,
        "repo": {"name": repo.full_name, "type": repo.kind},
    }


def _event(comment: Comment) -> dict[str, Any]:
    return {
        "id": f"{comment.id:024x}",
        "author": {"name": comment.author},
        "createdAt": time_of(comment.created),
    }


def _said(comment: Comment) -> dict[str, Any]:
    latest = {
        "raw": comment.content,
        "html": "",
        "updatedAt": time_of(comment.created),
        "author": {"name": comment.author},
    }
    data = {"edited": False, "hidden": False, "numEdits": 0, "latest": latest, "history": [latest]}
    return _event(comment) | {"type": "comment", "data": data}
