"""Who may ask: bearer tokens, and pages of other origins."""

from __future__ import annotations

import hmac
import ipaddress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from gatework.core.errors import ConfigError
from gatework.server.refusal import Refusal
from gatework.server.requests import LOOPBACK, Head

LEAST_TOKEN = 8


class Gate:
    """Lets requests in. Without tokens everybody on this machine, but no page of another origin in a browser."""

    def __init__(self, tokens: tuple[str, ...] = (), *, local: bool = True) -> None:
        """`local`: the service listens on this machine's own address alone."""
        self._tokens = tuple(token.encode() for token in tokens)
        self._local = local and not tokens

    def check(self, head: Head, query: bytes = b"") -> None:
        """Raise Refusal 401 or 403. `query`: of a WebSocket, which browsers give no header: `token=...`."""
        if self._tokens:
            scheme, _, given = head.authorization.partition(b" ")
            if scheme.lower() != b"bearer":
                given = parse_qs(query.decode("latin-1")).get("token", [""])[0].encode("latin-1", "replace")
            self.check_token(given.strip())
        if self._local and head.host and not _here(_name(head.host)):
            # A name that a page's owner points at 127.0.0.1 would make that page one of this origin.
            raise Refusal(403, "This service answers to localhost alone. Start it with --token-file to use a name.")
        if head.origin and (_place(head.origin) or None) != head.host:
            raise Refusal(403, "Pages of another origin may not ask.")

    def check_token(self, given: bytes) -> None:
        """Raise Refusal 401 unless a token is right; all of them are compared, each in constant time."""
        right = [hmac.compare_digest(given, token) for token in self._tokens]
        if self._tokens and not any(right):
            raise Refusal(401, "This service needs a token: Authorization: Bearer TOKEN.")


def _place(origin: bytes) -> bytes:
    """Host and port of an Origin; empty where it is no URL, or one without a host."""
    try:
        return urlsplit(origin.decode("latin-1")).netloc.encode("latin-1")
    except ValueError:
        return b""


def read_tokens(path: Path) -> tuple[str, ...]:
    """Tokens of a file, one a line. Raises ConfigError: there are none, or one is short or has blanks."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"serve: --token-file {path}: cannot be read ({error}).") from None
    tokens = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not tokens:
        raise ConfigError(f"serve: --token-file {path}: holds no token. Write one a line.")
    for number, token in enumerate(lines, start=1):
        if (own := token.strip()) in tokens and (len(own) < LEAST_TOKEN or not own.isascii() or " " in own):
            raise ConfigError(
                f"{path}:{number}: a token has at least {LEAST_TOKEN} characters, ASCII without blanks. "
                "Make one: python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
    return tuple(tokens)


def _here(name: str) -> bool:
    """Whether a name is this machine's own: an address that loops back cannot be pointed anywhere else."""
    if name in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _name(host: bytes) -> str:
    """A Host header without its port."""
    name = host.decode("latin-1").lower()
    return name[: name.index("]") + 1] if name.startswith("[") and "]" in name else name.partition(":")[0]
