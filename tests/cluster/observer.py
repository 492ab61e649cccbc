"""Says what a home holds, once for each line it gets: {"attempts": […], "outcome": {…}} as JSON. Takes the home's URL.

It runs on a machine of the cluster, from where the home can be reached.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from typing import Any

from orchestrator.home import open_home
from orchestrator.home_objects import Home


def outcome(home: Home) -> dict[str, Any]:
    """What trials leave that does not depend on where they ran: digests of weights and of accuracies."""
    found: dict[str, Any] = {}
    for key in home.names("trainings"):
        manifest = home.read_json(f"trainings/{key}/manifest.json")
        if manifest is not None:
            found[key] = sorted(manifest["files"].values())
        for name in home.names(f"trainings/{key}/evaluations"):
            data = home.read(f"trainings/{key}/evaluations/{name}")
            assert data is not None
            found[f"{key}/{name}"] = sha256(data).hexdigest()
    return found


def attempts(home: Home) -> list[dict[str, Any]]:
    """The records of all attempts, in the order in which they began."""
    found = []
    for key in home.names("trainings"):
        for name in home.names(f"trainings/{key}/attempts"):
            record = home.read_json(f"trainings/{key}/attempts/{name}/attempt.json")
            if record is not None:
                found.append(record | {"training_key": key})
    return sorted(found, key=lambda attempt: attempt["started_ms"])


def main() -> None:
    """Answers until its input ends."""
    home = open_home(sys.argv[1])
    for _ in sys.stdin:
        print(json.dumps({"attempts": attempts(home), "outcome": outcome(home)}), flush=True)


if __name__ == "__main__":
    main()
