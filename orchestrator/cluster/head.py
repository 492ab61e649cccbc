"""What the head of a Ray cluster answers, asked in the cheapest way: one call, in milliseconds, without loading Ray."""

from __future__ import annotations

import os
from typing import Literal

from orchestrator.cluster.token import user_token

TIMEOUT_S = 5.0

BUSY_TIMEOUT_S = 10.0
"""For one that did not answer within ``TIMEOUT_S``: it takes connections, so it may be busy."""

_CALL = "/ray.rpc.NodeInfoGcsService/GetClusterId"
"""Which cluster it is: Ray's own first question. Its request is empty, and its answer is not looked at."""

HeadAnswer = Literal["open", "ours", "refuses", "not ray", "silent", "not asked"]
"""Takes orders from anybody; takes ours, by our token; refuses us; is something else; did not answer in time, as a busy
one may not; was not asked, since RAY_USE_TLS has Ray's calls encrypted, and this one is not."""


def ask_head(address: str, timeout_s: float = TIMEOUT_S) -> HeadAnswer:
    """How a head at ``HOST:PORT`` answers who has no token, and who has the one that is here; each in this time."""
    if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):
        return "not asked"
    without = _asked(address, None, timeout_s)
    if without != "refuses":
        return "open" if without == "takes it" else without
    token = user_token()
    with_ours = _asked(address, token, timeout_s) if token else "refuses"
    return "ours" if with_ours == "takes it" else with_ours


def _asked(address: str, token: str | None, timeout_s: float) -> Literal["takes it", "refuses", "not ray", "silent"]:
    """What becomes of one call."""
    import grpc

    by_name = {"authorization": f"Bearer {token}"} if token else {}
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_CALL)(b"", timeout=timeout_s, metadata=list(by_name.items()))
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                return "refuses"
            return "silent" if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED else "not ray"
    return "takes it"
