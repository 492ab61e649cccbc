"""What pages are looked at with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}

Opened = Callable[..., "Page"]
"""(address, options of a browser context) -> the page; the test fails at its end if that has told errors."""
