"""Uploads a file with aiotus, and goes on with what an earlier process began.

Arguments: the URL of /uploads, the file, its name there, a file for what is to be remembered.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp
import yarl
from aiotus import core, creation


async def main(endpoint: str, path: str, name: str, memory: Path) -> None:
    async with aiohttp.ClientSession() as session:
        with open(path, "rb") as file:
            if not memory.exists():
                url = yarl.URL(endpoint)
                made = await creation.create(session, url, file, {"name": name.encode()})
                memory.write_text(str(url.join(made)))
            await core.upload_buffer(session, yarl.URL(memory.read_text()), file)


endpoint, path, name, memory = sys.argv[1:]
asyncio.run(main(endpoint, path, name, Path(memory)))
