"""What lies in memcached when everybody has gone: chunks without a manifest, or for too short."""

from __future__ import annotations

import json
import math
import re
import time
from collections import defaultdict

from memchunk.expiry import DRAFT_SECONDS
from tests.items import Items

_CHUNK = re.compile(r":c\{([0-9a-f]+)\}")
NEVER = -1
GRACE_SECONDS = DRAFT_SECONDS + 1  # memcached's clock ticks once a second


def orphans(items: Items) -> dict[str, float]:
    """The generations that have chunks and no manifest; in how many seconds the last is gone."""
    manifests, chunks = _by_generation(items)
    now = time.time()
    return {
        generation: max(expiries) - now
        for generation, expiries in chunks.items()
        if generation not in manifests
    }


def short_lived(items: Items) -> set[str]:
    """The generations with chunks that expire before their manifest does."""
    manifests, chunks = _by_generation(items)
    return {
        generation
        for generation, expires in manifests.items()
        if generation in chunks and min(chunks[generation]) < expires
    }


def _by_generation(items: Items) -> tuple[dict[str, float], dict[str, set[float]]]:
    """When the manifest of each generation expires, and when its chunks do."""
    manifests: dict[str, float] = {}
    chunks: defaultdict[str, set[float]] = defaultdict(set)
    for key, exp in items.all().items():
        expires = math.inf if exp == NEVER else exp
        if chunk := _CHUNK.search(key):
            chunks[chunk[1]].add(expires)
        elif key.startswith(f"{items.namespace}:m:") and (value := items.client.get(key)):
            manifests[json.loads(value)["generation"]] = expires
    return manifests, chunks
