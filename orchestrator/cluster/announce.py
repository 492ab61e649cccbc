"""Tells a head which machines its cluster can start, in Ray's own place for that: Ray's autoscalers do not say it, and
without it a sweep could only count what is there, which may be nothing yet. Run on the head, after `ray start`:

    python -m orchestrator.cluster.announce --address HOST:6379 --launcher ~/ray_bootstrap_config.yaml
    python -m orchestrator.cluster.announce --address HOST:6379 --machine 8 CPU=16 --machine 2 CPU=8 GPU=1
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from orchestrator.cluster.token import user_token
from orchestrator.placement import Startable

PATIENCE_S = 120.0
"""For a head that is coming up."""

CALL_TIMEOUT_S = 5.0
_CALL = "/ray.rpc.autoscaler.AutoscalerStateService/ReportClusterConfig"


def announce(address: str, kinds: Sequence[Startable], patience_s: float = PATIENCE_S) -> None:
    """Reports the kinds of machines to the head at ``HOST:PORT``.

    Raises:
        grpc.RpcError: it did not take it in time.
    """
    import grpc
    from ray.core.generated.autoscaler_pb2 import ClusterConfig, NodeGroupConfig, ReportClusterConfigRequest

    groups = [NodeGroupConfig(resources=_whole(kind), min_count=0, max_count=kind.most) for kind in kinds]
    request = ReportClusterConfigRequest(cluster_config=ClusterConfig(node_group_configs=groups))
    token = user_token()
    metadata = [("authorization", f"Bearer {token}")] if token else []
    until = time.monotonic() + patience_s
    while True:
        try:
            with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
                channel.unary_unary(_CALL)(request.SerializeToString(), timeout=CALL_TIMEOUT_S, metadata=metadata)
            return
        except grpc.RpcError:
            if time.monotonic() > until:
                raise
            time.sleep(1)


def _whole(kind: Startable) -> dict[str, int]:
    return {name: int(amount) for name, amount in kind.machine.items()}


def of_launcher(path: Path) -> list[Startable]:
    """The workers of a file of Ray's cluster launcher."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    workers = {name: kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]}
    return [Startable(kind["resources"], kind.get("max_workers", config["max_workers"])) for kind in workers.values()]


def of_words(words: Sequence[str]) -> Startable:
    """``8 CPU=16 GPU=1``: up to eight machines of 16 processors and a GPU."""
    pairs = (word.partition("=") for word in words[1:])
    return Startable({name: float(amount) for name, _, amount in pairs}, int(words[0]))


def main() -> None:
    """Command line; see above. Whatever goes wrong is one line: the cluster works without it."""
    parser = argparse.ArgumentParser(prog="announce", description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--launcher", type=Path)
    parser.add_argument("--machine", nargs="+", action="append", default=[])
    asked = parser.parse_args()
    try:
        kinds = of_launcher(asked.launcher) if asked.launcher else [of_words(words) for words in asked.machine]
        announce(asked.address, kinds)
    except Exception as error:
        sys.stderr.write(f"announce: {type(error).__name__}: {error}\n")


if __name__ == "__main__":
    main()
