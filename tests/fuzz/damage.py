"""Ways in which a file can be damaged."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st
from sweep_files import places, values

KEYS = st.sampled_from(["", "../../x", "a", "attempts/../../../x", "\x1b[2J", "attempt", "iteration", "linear"])


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Some bytes changed, put in or taken out, or an end cut off."""
    what = draw(st.sampled_from(["flip", "flip", "cut", "insert", "replace"]))
    if what == "flip":
        changed = bytearray(data)
        for _ in range(draw(st.integers(1, 4))):
            if changed:
                changed[draw(st.integers(0, len(changed) - 1))] ^= draw(st.integers(1, 255))
        return bytes(changed)
    at = draw(st.integers(0, len(data)))
    if what == "cut":
        return data[:at]
    return data[:at] + draw(st.binary(max_size=12)) + data[at + (4 if what == "replace" else 0) :]


@st.composite
def damaged_json(draw: st.DrawFn, data: bytes) -> bytes:
    """Another value of the same shape: a part replaced, renamed, added or taken away; or another value altogether."""
    value: Any = json.loads(data)
    found = places(value)
    what = draw(st.sampled_from(["all", "replace", "replace", "replace", "take away", "add", "rename"]))
    if what == "all" or not found:
        return json.dumps(draw(values)).encode()
    value = copy.deepcopy(value)
    place = draw(st.sampled_from(found))
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    if what == "replace":
        holder[place[-1]] = draw(values)
    elif what == "take away":
        del holder[place[-1]]
    elif isinstance(holder, list):
        holder.append(draw(values))
    else:
        holder[draw(KEYS)] = holder.pop(place[-1]) if what == "rename" else draw(values)
    return json.dumps(value).encode()
