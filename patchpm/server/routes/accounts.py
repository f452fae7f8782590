"""`/api/whoami-v2`."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from patchpm.server.call import Call


def whoami(call: Call) -> Response:
    """Who the token stands for, and what it may do."""
    name = call.require_user()
    caller = call.caller
    orgs = [
        {"type": "org", "id": org, "name": org, "fullname": org, "roleInOrg": role, "isEnterprise": False}
        for org, role in sorted(caller.roles.items())
        if caller.only in (None, org)
    ]
    return JSONResponse(
        {
            "type": "user",
            "id": name,
            "name": name,
            "fullname": name,
            "isPro": False,
            "orgs": orgs,
            "auth": {
                "type": "access_token",
                "accessToken": {"displayName": caller.label, "role": caller.scope, "namespace": caller.only},
            },
        }
    )
