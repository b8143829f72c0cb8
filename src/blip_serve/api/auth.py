"""The optional API key, as a bearer token."""

import hmac
from hashlib import sha256
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from blip_serve.api.context import SettingsOf
from blip_serve.errors import Unauthenticated

Given = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, scheme_name="API key", description="where the service asks for one")),
]


async def require_key(given: Given, settings: SettingsOf) -> None:
    """Passes where no key is set, or the request's is the one. Raises `Unauthenticated`.

    Digests are compared, in constant time: neither the key nor its length shows in the time an answer takes.
    """
    if settings.server.api_key is None:
        return
    if given is None:
        raise Unauthenticated("No API key given: send 'Authorization: Bearer <key>'.")
    if not hmac.compare_digest(_digest(given.credentials), _digest(settings.server.api_key.get_secret_value())):
        raise Unauthenticated("The API key is wrong.")


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogateescape")).digest()
