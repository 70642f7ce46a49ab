"""What lies in memcached when everybody has gone: chunks that no manifest names."""

from __future__ import annotations

import json
import re
import time

from tests.items import Items

_CHUNK = re.compile(r":c\{([0-9a-f]+)\}")
NEVER = -1


def orphans(items: Items) -> dict[str, float]:
    """The generations that have chunks and no manifest; in how many seconds the last is gone."""
    everything = items.all()
    named = set()
    for key in everything:
        if key.startswith(f"{items.namespace}:m:") and (value := items.client.get(key)):
            named.add(json.loads(value)["generation"])
    now = time.time()
    found: dict[str, float] = {}
    for key, expires in everything.items():
        chunk = _CHUNK.search(key)
        if chunk and chunk[1] not in named:
            left = float("inf") if expires == NEVER else expires - now
            found[chunk[1]] = max(left, found.get(chunk[1], 0.0))
    return found
