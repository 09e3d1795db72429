"""The page at `/`, the reference at `/docs`: files of this package, held in memory, that ask the service alone."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
OWN = (
    "index.html", "page.js", "dialogue.js", "reference.html", "reference.js", "reference_words.js", "schema.js",
    "asking.js", "language.js", "programs.js", "views.js", "words.js", "page.css",
)  # fmt: skip
PLACES = {"index.html": "/", "reference.html": "/docs"}
SHARED = ("explain.css", "explain.js")
"""Of `gatework.explain`: what its pages are drawn with."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Page:
    """The files by their paths."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str, str]] = {}
        for package, names in (("gatework.server", OWN), ("gatework.explain", SHARED)):
            for name in names:
                content = (files(package) / "page" / name).read_bytes()
                path = PLACES.get(name, f"/page/{name}")
                tag = f'"{sha256(content).hexdigest()[:16]}"'
                self._files[path] = content, f"{TYPES[name.rpartition('.')[2]]}; charset=utf-8", tag

    @property
    def paths(self) -> Sequence[str]:
        """Where the files are; they hold no secrets, so no token is asked for them."""
        return tuple(self._files)

    def routes(self) -> list[Route]:
        """For Starlette."""
        return [Route(path, self._file) for path in self._files]

    async def _file(self, request: Request) -> Response:
        content, kind, tag = self._files[request.url.path]
        headers = {**HEADERS, "etag": tag}
        if tag in request.headers.get("if-none-match", ""):
            return Response(None, 304, headers)
        return Response(content, headers=headers, media_type=kind)
