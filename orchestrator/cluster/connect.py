"""Joins a Ray cluster, or starts one on this machine for the length of a sweep; keeps Ray's own chatter silent."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from orchestrator.cluster.head import BUSY_TIMEOUT_S, ask_head
from orchestrator.cluster.nodes import machines
from orchestrator.cluster.token import WAY_OUT, set_variables, token_settings, user_token
from orchestrator.cluster.watch import dead_part, end_session
from orchestrator.environment import cpu_count
from orchestrator.errors import ClusterError
from orchestrator.interrupt import ended_with_us, handlers_kept
from orchestrator.placement import Machine

CONNECT_TIMEOUT_S = 5.0
START_ATTEMPTS = 3

_VERSIONS = re.compile(r"Version mismatch.*Ray: (\S+)\s+Python: (\S+).*Ray: (\S+)\s+Python: (\S+)", re.DOTALL)

_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # results are in our own store
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's snapshots are never read
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours stops cleanly
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # of a worker that died it would print on stdout
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # Ray gives 15: on a busy machine a trial would then wait for minutes
    "RAY_prestart_worker_first_driver": "0",  # trials get workers of their own: those would idle
    "RAY_gcs_rpc_server_connect_timeout_s": "5",
}


@contextmanager
def cluster(address: str | None) -> Iterator[list[Machine]]:
    """Connects; gives what each node has (``CPU``, ``GPU``, …); leaves the cluster, or ends its own, at the end.

    Args:
        address: ``HOST:PORT`` of a standing cluster; None starts one on this machine.

    Raises:
        ClusterError: no cluster answers at the address.
    """
    if address is not None:
        check_address(address)
    settings = _SETTINGS | token_settings(standing=address is not None)
    if address is None:
        settings |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # on Linux too it then listens on 127.0.0.1 alone
    else:
        settings |= {"RAY_BACKEND_LOG_LEVEL": "fatal"}  # what does not answer is said once, by us
    with set_variables(settings):
        _read_settings_again()
        with _connected(address) as found:
            yield found


def _read_settings_again() -> None:
    """Ray looks at these variables, and at the token, once a process; an earlier cluster may have had others."""
    from ray import _raylet  # compiled: it has no types
    from ray._private import ray_constants

    may_reach_others = ray_constants.env_bool(
        ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, not ray_constants.IS_WINDOWS_OR_OSX
    )
    ray_constants.ENABLE_RAY_CLUSTER = may_reach_others
    _raylet.Config.initialize("")  # type: ignore[attr-defined]
    _raylet.AuthenticationTokenLoader.instance().reset_cache()  # type: ignore[attr-defined]


@contextmanager
def _connected(address: str | None) -> Iterator[list[Machine]]:
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address is None:
        options |= {"include_dashboard": False, "num_cpus": cpu_count()}
    try:
        with handlers_kept(), nullcontext() if address is None else _unsaid():
            context = _init(address or "local", options)
    except Exception as error:  # Ray raises what its layers raise: RuntimeError, ConnectionError, its own
        raise ClusterError(_problem(str(error).strip() or type(error).__name__, address)) from error
    ray._private.worker.print_to_stdstream = lambda *args, **kwargs: None  # what died, and its log, on stdout
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it warns of metrics that it was told not to log
    session = context.address_info.get("session_dir") if address is None else None
    with ended_with_us(end_session) if address is None else nullcontext():
        try:
            yield machines()
        except Exception:
            session = None  # the logs say why
            raise
        finally:
            if dead_part() is None:
                ray.shutdown()
            else:  # it would wait for the dead
                end_session()
            if session:
                shutil.rmtree(session, ignore_errors=True)


@contextmanager
def _unsaid() -> Iterator[None]:
    """Nothing that this process writes on its stderr is seen meanwhile. Ray's compiled part writes there, past Python,
    that it was told to write nothing. What is wrong, it raises.
    """
    try:
        kept = os.dup(2)
    except OSError:  # it is closed: nobody sees anything
        yield
        return
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _problem(said: str, address: str | None) -> str:
    """In one line, why there is no cluster."""
    if address is None:
        return f"starting Ray on this machine: {said.splitlines()[0]}; its logs are in /tmp/ray/session_latest/logs"
    if found := _VERSIONS.search(said):
        theirs, ours = f"Ray {found[1]} on Python {found[2]}", f"Ray {found[3]} on Python {found[4]}"
        return f"--address {address}: the cluster runs {theirs}, and this is {ours}; install the same on both"
    way_out = "check the address and its token" if user_token() else f"if it wants a token: {WAY_OUT}"
    return f"--address {address}: {said.splitlines()[0]}; {way_out}, or leave --address out"


def _init(address: str, options: Mapping[str, Any]) -> Any:
    """``ray.init``; on a busy machine again, where Ray's limit of 30 s was too short for its own processes."""
    import ray

    for left in reversed(range(START_ATTEMPTS)):
        try:
            return ray.init(address=address, **options)
        except Exception as error:
            if left == 0 or "timed out during startup" not in str(error):
                raise
            ray.shutdown()
    raise AssertionError


def check_address(address: str) -> None:
    """Refuses an address at which no Ray listens, or none that takes our token, before Ray tries for a minute.

    One that is slow to answer is asked again, and one behind RAY_USE_TLS is left to Ray.

    Raises:
        ClusterError: malformed; nothing answers; it wants a token, and there is none here, or another.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ClusterError(f"--address {address}: not HOST:PORT; give the one that `ray start --head` printed")
    reason = None
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
    if reason is None:
        answer = ask_head(f"{host}:{port}")
        if answer == "silent":
            answer = ask_head(f"{host}:{port}", BUSY_TIMEOUT_S)
        if answer == "refuses":
            what = "another token than the one here" if user_token() else "a token, and there is none here"
            raise ClusterError(f"--address {address}: it wants {what}; {WAY_OUT}")
        reasons = {"not ray": "what listens there is not Ray", "silent": "it takes connections, and says nothing"}
        reason = reasons.get(answer)
    if reason is not None:
        raise ClusterError(
            f"--address {address}: no Ray cluster answers there ({reason}); start one, or leave --address out"
        )
