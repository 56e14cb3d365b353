"""Addresses of files elsewhere (`https://host/set.zip`, `s3://bucket/set`): what they say, and what is shown of them.

Passwords and signatures in an address are secrets: `public` leaves them out of all that is printed and written. This
process alone remembers them, so that it finds by the public address what was given with a secret.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from xfer.errors import DataError

WEB = ("http", "https")
LONGEST = 8192  # characters: signed ones have 2,000

HIDDEN = "***"

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://", re.ASCII)
_IN_TEXT = re.compile(_ADDRESS.pattern + r"[^\s'\"]*", re.ASCII)
_SECRET = re.compile(
    r"(?i)([?&;](?:x-amz-[a-z-]+|x-goog-[a-z-]+|awsaccesskeyid|googleaccessid|sig|auth|rlkey|"
    r"[a-z_-]*(?:signature|token|secret|password|passwd|pwd|api_?-?key|access_?-?key|authorization|credential))=)([^&;#]*)"
)
"""Names of a query that are secrets without a doubt. What is left out here tells no two files apart."""

_given: dict[str, str] = {}
"""Public addresses -> those that this process was given for them, secrets and all. Never written anywhere."""


def is_address(text: str) -> bool:
    """Whether a text begins as `protocol://` does; a drive letter of Windows is no protocol."""
    return _ADDRESS.match(text) is not None


def protocol_of(address: str) -> str:
    """In lower case."""
    match = _ADDRESS.match(address)
    return match[1].lower() if match else ""


def public(address: str) -> str:
    """What may be shown and stored. A user's name is left where it is a part of the address: abfs://container@account."""
    before, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    user, at, own = host.rpartition("@")
    if at and (":" in user or before.lower() in WEB):
        host = f"{HIDDEN}@{own}"
    return _SECRET.sub(rf"\1{HIDDEN}", f"{before}{mark}{host}{slash}{path}")


def remember(address: str) -> str:
    """The public address, by which `given` finds this one from now on; of what is no address, the text itself."""
    shown = public(address) if is_address(address) else address
    if shown != address:
        _given[shown] = address
    return shown


def shown_in(text: str) -> str:
    """A text with the public ones in the place of all addresses in it, such as a word of a command."""
    return _IN_TEXT.sub(lambda match: public(match[0]), text)


def given(address: str) -> str:
    """The address with the secrets that this process was given for it, if it was given any."""
    return _given.get(address, address)


def without_secrets(text: str, address: str) -> str:
    """A text of others in which an address, or a part of it, may stand: without what `public` hides of that."""
    user, at, _ = urlsplit_of(address).netloc.rpartition("@")
    words = [user, *user.split(":")] if at and public(address) != address else []
    words += [match[2] for match in _SECRET.finditer(address)]
    for word in sorted({*words, *map(unquote, words)}, key=len, reverse=True):
        if len(word) > 2:
            text = text.replace(word, HIDDEN)
    return text


def urlsplit_of(address: str) -> SplitResult:
    """Raises DataError for what is no address: too long, with control characters, or with a broken host."""
    if len(address) > LONGEST:
        raise DataError(
            f"address {public(address)[:60]!r}...: {len(address):,} characters, expected at most {LONGEST:,}"
        )
    if not address.isprintable():
        raise DataError(f"address {public(address)!r}: control characters in it. Cure: write it anew, or as %XX")
    try:
        parts = urlsplit(address)
        _ = parts.port if parts.scheme.lower() in WEB else None
    except ValueError as error:
        raise DataError(f"address {public(address)!r}: {_plain(error, address)}. Cure: write it anew") from None
    if not parts.netloc and not parts.path.strip("/"):
        raise DataError(f"address {public(address)!r}: names nothing. Expected protocol://place/file")
    return parts


def _plain(error: ValueError, address: str) -> str:
    """What urllib says of a broken host repeats it, with the password that may stand there."""
    return "no port" if "port" in str(error).lower() else "no host" if "@" in address else str(error)


def file_name(address: str) -> str:
    """The last part of the path, `set.zip`; of a place without a path, the host or bucket."""
    parts = urlsplit_of(address)
    return PurePosixPath(unquote(parts.path)).name or parts.netloc.rpartition("@")[2]
