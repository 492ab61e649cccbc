"""Where the tracking store is: the default, what a URI may look like, and whether anything answers there.

Knows URIs and sockets only; ``orchestrator.tracking`` gives the same names to the rest.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from orchestrator.errors import TrackingError
from orchestrator.url_secrets import masked

_SERVERS = {"http": 80, "https": 443}
_DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_ACCEPTED = "http://HOST:PORT, https://…, sqlite:////PATH/mlflow.db, or a postgresql, mysql or mssql URL"


def default_uri(home: Path) -> str:
    """The SQLite store of a local home: ``sqlite:////<absolute home>/mlflow.db``. Touches no file."""
    path = str(home.absolute() / "mlflow.db")
    return "sqlite:///" + path.replace("%", "%25").replace("?", "%3F")  # the two that SQLAlchemy would read otherwise


def experiment_name() -> str:
    """``MLFLOW_EXPERIMENT_NAME``, or ``metasweep``."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "metasweep"


def sqlite_path(uri: str) -> Path:
    """The database file of a ``sqlite:///`` URI."""
    return Path(unquote(uri.removeprefix("sqlite:///").partition("?")[0]))


def check_uri(uri: str) -> None:
    """Refuses a tracking URI that can never work. Opens no connection, imports no MLflow.

    Raises:
        TrackingError: one line with the URI, its secrets masked, and the way out.
    """
    if reason := _malformed(uri):
        shown = masked("".join(uri.split()))  # a password with a blank in it is one, too
        raise TrackingError(f"tracking URI {shown!r}: {reason}")


def _malformed(uri: str) -> str | None:
    if not uri.strip():
        return f"is empty; give {_ACCEPTED}"
    if uri != uri.strip() or any(not char.isprintable() for char in uri):
        return "has blanks around it or control characters in it; remove them"
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:  # its text quotes the URI, secrets too
        what = "port is no number from 1 to 65535" if "port" in str(error).lower() else "host can't be read"
        return f"its {what}; give {_ACCEPTED}"
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        return _malformed_sqlite(uri)
    if scheme == "file" or uri.startswith((".", "/", "~")):
        return "MLflow no longer keeps runs in plain folders; give sqlite:////PATH/mlflow.db"
    if scheme not in _SERVERS and scheme not in _DATABASES:
        looks_like_address = re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri)
        hint = f"http://{uri}" if looks_like_address else _ACCEPTED
        return f"{'no scheme' if looks_like_address or not scheme else f'unknown scheme {scheme!r}'}; give {hint}"
    if not uri.lower().startswith(parts.scheme + "://"):
        return f"no // after {parts.scheme}:; give {_ACCEPTED}"
    if port == 0:
        return "port 0 is no port; give one from 1 to 65535"
    if scheme in _SERVERS:
        return _malformed_server(parts)
    return None


def _malformed_server(parts: SplitResult) -> str | None:
    host = parts.hostname or ""
    if not host:
        return "no host; give http://HOST:PORT"
    if not (":" in host or re.fullmatch(r"[^\s\x00-\x20!\"#$%&'()*,/;<=>?@\\^`{|}~\[\]]+", host)):
        return f"{host!r} is no host name; give http://HOST:PORT"
    if parts.query or parts.fragment:
        return "a tracking server has no ? or # part; give http://HOST:PORT (not the address of a page)"
    return None


def _malformed_sqlite(uri: str) -> str | None:
    if not uri.startswith("sqlite:///"):
        return "a SQLite store is a file; give sqlite:////PATH/mlflow.db (four slashes before an absolute path)"
    path = sqlite_path(uri)
    if str(path) in (".", ":memory:"):
        return "names no file, so nothing would be kept; give sqlite:////PATH/mlflow.db"
    if path.is_dir():
        return f"is a folder; give sqlite:///{path}/mlflow.db"
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist; make it first"
    return None


def reachable(uri: str, timeout_s: float = 4.0) -> str | None:
    """None where the store answers, else the reason in a few words. Never takes longer than ``timeout_s``.

    A server must answer ``/health``, a database server must accept a connection, a SQLite file must be writable.
    ``uri`` has passed :func:`check_uri`.
    """
    answer: list[str | None] = []
    # A thread, for a name server that does not answer and a server that sends a byte now and then: no socket
    # timeout bounds those.
    probe = threading.Thread(target=lambda: answer.append(_probe(uri, timeout_s)), name="tracking-probe", daemon=True)
    probe.start()
    probe.join(timeout_s)
    return answer[0] if answer else f"no answer within {timeout_s:g} s"


def _probe(uri: str, timeout_s: float) -> str | None:
    try:
        if uri.startswith("sqlite:"):
            return _probe_sqlite(sqlite_path(uri))
        parts = urlsplit(uri)
        if parts.scheme in _SERVERS:
            return _probe_server(parts, timeout_s)
        if parts.hostname:  # a database without one is reached through a socket file
            port = parts.port or _DATABASES[parts.scheme.partition("+")[0]]
            socket.create_connection((parts.hostname, port), timeout_s).close()
        return None
    except urllib.error.HTTPError as error:
        return _refusal(error.code)
    except urllib.error.URLError as error:
        return _timeout_or(error.reason, timeout_s)
    except Exception as error:  # every way of not answering is the same to a sweep
        return _timeout_or(error, timeout_s)


def _timeout_or(reason: object, timeout_s: float) -> str:
    return f"no answer within {timeout_s:g} s" if isinstance(reason, TimeoutError) else masked(str(reason))


def _refusal(status: int) -> str:
    way_out = {
        401: "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        403: "no right to use it, or this host name is missing from the server's --allowed-hosts",
        404: "no MLflow server at this address",
    }.get(status, "the server is not well")
    return f"/health answers {status}: {way_out}"


def _probe_server(parts: SplitResult, timeout_s: float) -> str | None:
    address = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(f"{parts.scheme}://{address}{parts.path.rstrip('/')}/health")
    user = unquote(parts.username or "") or os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = unquote(parts.password or "") or os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    elif token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    context = ssl._create_unverified_context() if insecure else None
    with urllib.request.urlopen(request, timeout=timeout_s, context=context) as answer:
        body = answer.read(1024).strip()
    return None if body == b"OK" else "something answers there, but no MLflow server"


def _probe_sqlite(path: Path) -> str | None:
    if not os.access(path.parent, os.W_OK):
        return f"the folder {path.parent} can't be written"
    if not path.exists():
        return None
    if not os.access(path, os.R_OK | os.W_OK):
        return f"{path} can't be written"
    with path.open("rb") as file:
        head = file.read(16)
    return None if head in (b"", b"SQLite format 3\0") else f"{path} is no SQLite database"
