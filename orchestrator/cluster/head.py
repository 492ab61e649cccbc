"""What the head of a Ray cluster answers, asked in the cheapest way: one call, in milliseconds, without loading Ray."""

from __future__ import annotations

from typing import Literal

from orchestrator.cluster.token import user_token

TIMEOUT_S = 5.0

_CALL = "/ray.rpc.NodeInfoGcsService/GetClusterId"
"""Which cluster it is: Ray's own first question. Its request is empty, and its answer is not looked at."""

HeadAnswer = Literal["open", "ours", "refuses", "not ray"]
"""Takes orders from anybody; takes ours, by our token; refuses us; is something else."""


def ask_head(address: str) -> HeadAnswer:
    """How a head at ``HOST:PORT`` answers who has no token, and who has the one that is here."""
    without = _answers(address, None)
    if without is None:
        return "not ray"
    if without:
        return "open"
    token = user_token()
    return "ours" if token and _answers(address, token) else "refuses"


def _answers(address: str, token: str | None) -> bool | None:
    """Whether it takes a call; None where no Ray is there to refuse it."""
    import grpc

    by_name = {"authorization": f"Bearer {token}"} if token else {}
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_CALL)(b"", timeout=TIMEOUT_S, metadata=list(by_name.items()))
        except grpc.RpcError as error:
            return False if error.code() == grpc.StatusCode.UNAUTHENTICATED else None
    return True
