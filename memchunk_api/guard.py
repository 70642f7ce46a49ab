"""Who may ask: the checks that every request passes before it is routed.

Middleware. What a request asks for, and whether it exists, is not looked at here.
"""

from __future__ import annotations

import base64
import binascii
import hmac

import falcon

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

# A probe has no secret; both tell nothing of what is stored.
OPEN_PATHS = frozenset({"/livez", "/readyz"})

# Basic is there so that a browser asks for the token, as a password. It comes first: falcon
# sends both in one header, of which Chromium reads the first.
CHALLENGES = ('Basic realm="memchunk", charset="UTF-8"', 'Bearer realm="memchunk"')


class Guard:
    """Falcon middleware that turns requests away."""

    def __init__(self, token: str | None) -> None:
        """Want `token` of every request, or none."""
        self._token = token.encode() if token is not None else None

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Check one request.

        Raises:
            falcon.HTTPUnauthorized: it does not bring the token.
            falcon.HTTPForbidden: a browser sends it on behalf of another site.
            falcon.HTTPBadRequest: its path is not UTF-8.
        """
        if self._token is not None and req.path not in OPEN_PATHS and not self._admits(req):
            raise falcon.HTTPUnauthorized(
                description="send the token: Authorization: Bearer TOKEN, or as the password",
                challenges=CHALLENGES,
            )
        # Browsers attach what they know of a site to requests that another site's
        # page makes to it, and tell so (Fetch Metadata, section 2.3).
        cross_site = req.env.get("HTTP_SEC_FETCH_SITE") == "cross-site"
        if cross_site and not _methods(req) <= SAFE_METHODS:
            raise falcon.HTTPForbidden(description="another site's page may not change files here")
        try:
            # WSGI carries the path's bytes as latin-1; falcon would put U+FFFD for bad ones.
            req.env["PATH_INFO"].encode("latin-1").decode()
        except UnicodeDecodeError:
            raise falcon.HTTPBadRequest(description="the path is not UTF-8") from None

    def _admits(self, req: falcon.Request) -> bool:
        scheme, _, credentials = (req.auth or "").strip().partition(" ")
        given = credentials.strip().encode("latin-1")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != "bearer":
            return False
        return self._token is not None and hmac.compare_digest(given, self._token)


def _methods(req: falcon.Request) -> set[str]:
    """The method of a request, and the one that takes its place under /uploads if it has one."""
    override = req.env.get("HTTP_X_HTTP_METHOD_OVERRIDE")
    return {req.method, override.upper()} if override else {req.method}
