"""Secrets in URLs: whether there are any, and texts without them, for all that is stored, logged or shown."""

from __future__ import annotations

import re
from urllib.parse import unquote

_USER = re.compile(r"(://)\S*@")
_QUERY = re.compile(
    r"(?i)([?&;][^=&;\s]*(?:passw|pwd|token|secret|key|credential|auth|\bsig)[^=&;\s]*=)[^&;\s'\"]+",
)
"""In a query string: ``?access_key=…&secret_key=…`` of S3 in pyarrow, ``?token=…``, ``?sig=…`` of Azure."""


def masked(text: str) -> str:
    """The text with ``user:password@`` of every URL in it, and secrets in query strings, replaced by ``***``."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1***@", text))


def without_credentials(uri: str) -> str:
    """The URI without its ``user:password@``."""
    return _USER.sub("://", uri)


def holds_secrets(url: str) -> bool:
    """Whether something in the URL would have to be masked, in whatever way it is written."""
    return any(masked(text) != text for text in (url, unquote(url)))
