"""The ASCII-image protocol on a port of its own."""

from __future__ import annotations

import hashlib
import secrets

from tests.containers.stack import IMAGE_PORT, Stack

CHUNK_SIZE = 100_000


def test_an_image_goes_in_by_chunks_and_comes_out_whole(stack: Stack) -> None:
    image = secrets.token_hex(130_000)  # 260,000 characters: two full chunks and a rest
    sha256 = hashlib.sha256(image.encode()).hexdigest()
    chunks = [image[start : start + CHUNK_SIZE] for start in range(0, len(image), CHUNK_SIZE)]
    registration = {"sha256": sha256, "size": len(image), "chunk_size": CHUNK_SIZE}
    with stack.client(IMAGE_PORT) as http:
        assert http.get(f"/image/{sha256}").status_code == 404
        assert http.post("/image", json=registration).status_code == 201
        assert http.post("/image", json=registration).status_code == 409
        for number, chunk in reversed(list(enumerate(chunks))):
            assert http.get(f"/image/{sha256}").status_code == 404  # not complete
            sent = {"id": number, "size": len(chunk), "data": chunk}
            assert http.post(f"/image/{sha256}/chunks", json=sent).status_code == 201
            assert http.post(f"/image/{sha256}/chunks", json=sent).status_code == 409
        found = http.get(f"/image/{sha256}")
    assert found.status_code == 200
    assert found.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert found.text == image
