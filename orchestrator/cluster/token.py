"""The token of a Ray cluster: ours where we start one, the user's where one stands."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

WAY_OUT = (
    "copy the file ~/.ray/auth_token of its head here, mode 0600, to the same place, or name it by RAY_AUTH_TOKEN_PATH"
)
"""How to come by one."""


def token_settings(standing: bool) -> dict[str, str]:
    """Settings of Ray's token authentication, where the user has made none.

    A cluster of ours gets a token that only this process and its children know. On a standing one the token that
    ``ray start`` left in the user's folder is used, which drivers do not do unasked.
    """
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    if not standing:
        return {"RAY_AUTH_MODE": "token"} | ({} if _named() else {"RAY_AUTH_TOKEN": _own_token()})
    return {"RAY_AUTH_MODE": "token"} if user_token() else {}


def user_token() -> str | None:
    """The token that Ray would use, from the places where it looks, in its order; None where none can be one."""
    if given := os.environ.get("RAY_AUTH_TOKEN"):
        return given.strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or _default_path())
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return token if token.isascii() and token.isprintable() else None


def _default_path() -> Path:
    return Path.home() / ".ray" / "auth_token"


def _named() -> bool:
    return "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ


@contextmanager
def set_variables(settings: dict[str, str]) -> Iterator[None]:
    """Sets variables that are not set, and takes them away again: a later cluster may have another token."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@cache
def _own_token() -> str:
    """One for all clusters that this process starts."""
    return secrets.token_hex(32)
