"""What a standing Ray cluster has, whether it is ours to use, and whether others could use it, too."""

from __future__ import annotations

import ipaddress
import urllib.error
import urllib.request
from collections.abc import Sequence
from urllib.parse import urlsplit

from orchestrator.cluster.connect import check_address, cluster
from orchestrator.cluster.head import HeadAnswer, ask_head
from orchestrator.cluster.job_server import CONNECT_TIMEOUT_S, open_job_server
from orchestrator.cluster.nodes import startable
from orchestrator.finding import Finding
from orchestrator.placement import Machine, Startable

_SECURE = "start its head with RAY_AUTH_MODE=token, see docs/cluster.md"


def check_up(address: str) -> list[Finding]:
    """Looks at the cluster at ``HOST:PORT``, or at the URL of its job server.

    Raises:
        ClusterError: nothing answers, or what answers can't be used.
    """
    return _by_job_server(address) if "://" in address else _by_driver(address)


def _by_job_server(address: str) -> list[Finding]:
    with open_job_server(address) as server:
        machines = server.machines()
        token = _token("open" if server.is_open else "ours")
        findings = [Finding("ray", "ok", f"answers at {address}, with this version"), token]
    return [*findings, *_dashboard(urlsplit(address).hostname or "", address), *_room(machines, [])]


def _by_driver(address: str) -> list[Finding]:
    check_address(address)
    token = _token(ask_head(address))
    with cluster(address) as machines:
        import ray

        findings = [Finding("ray", "ok", f"answers at {address}, with this version and this Python"), token]
        url = ray._private.worker.global_worker.node.address_info.get("webui_url") or ""
        host = url.rpartition(":")[0]
        return [*findings, *(_dashboard(host, f"http://{url}") if host else []), *_room(machines, startable())]


def _token(answer: HeadAnswer) -> Finding:
    if answer == "open":
        found = "open: it takes orders without a token, so whoever reaches its ports runs code there"
        return Finding("token", "problem", found, _SECURE)
    if answer == "ours":
        return Finding("token", "ok", "wants the one that is here, and refuses who has none")
    why = "RAY_USE_TLS has Ray's calls encrypted" if answer == "not asked" else "its head did not answer that in time"
    return Finding("token", "note", f"not looked at whether others need one: {why}")


def _dashboard(host: str, url: str) -> list[Finding]:
    """Whether the dashboard, whose page needs no token, can be seen by more than its own machine."""
    if is_loopback(host):
        return [Finding("dashboard", "ok", f"at {url}, for its own machine only")]
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT_S):
            pass
    except (urllib.error.HTTPError, OSError):
        return [Finding("dashboard", "ok", f"{url} shows nothing from here")]
    way_out = "start its head with --dashboard-host=127.0.0.1, and forward the port"
    return [Finding("dashboard", "problem", f"{url} shows its page to whoever reaches that address", way_out)]


def is_loopback(host: str) -> bool:
    """Whether only the machine itself reaches that host."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _room(machines: Sequence[Machine], kinds: Sequence[Startable]) -> list[Finding]:
    lines = [Finding("machines", "ok" if machines else "problem", f"{len(machines)} there: {_sum(machines)}")]
    if kinds:
        more = "; ".join(f"up to {kind.most} of {_sum([kind.machine])}" for kind in kinds)
        lines.append(Finding("autoscaler", "ok", f"starts {more}"))
    elif not any(machine.get("CPU") for machine in machines):
        lines.append(Finding("room", "problem", "no processor for a trial", "start workers"))
    return lines


def _sum(machines: Sequence[Machine]) -> str:
    cpus, gpus = (sum(machine.get(name, 0.0) for machine in machines) for name in ("CPU", "GPU"))
    return f"{cpus:g} CPUs, {gpus:g} GPUs"
