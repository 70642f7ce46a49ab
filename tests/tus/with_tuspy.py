"""Uploads a file with tuspy, and goes on with what an earlier process began.

Arguments: the URL of /uploads, the file, its name there, a file for what is to be remembered.
"""

from __future__ import annotations

import sys

from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

endpoint, path, name, memory = sys.argv[1:]
storage = FileStorage(memory)  # type: ignore[no-untyped-call]
TusClient(endpoint).uploader(
    path, metadata={"name": name}, store_url=True, url_storage=storage
).upload()
