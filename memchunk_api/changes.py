"""What a client wants to change about a file: its name, its type, its lifetime.

A JSON object or the bytes of an urlencoded form go in, a `Change` comes out: no I/O.
Whether it can be done is for the store to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import falcon

from memchunk import KEEP
from memchunk.expiry import Keep
from memchunk.manifest import check_content_type
from memchunk.names import check_name
from memchunk_api.parameters import check_lifetime

MEMBERS = frozenset({"name", "content_type", "ttl", "replace"})
FIELDS = frozenset({"file_name", "file_type", "file_size_bytes"})

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_BYTE_COUNT = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Change:
    """A change to one file; what is None stays as it is.

    Attributes:
        new_name: what it is to be called.
        content_type: the media type that it is to have.
        ttl: the seconds from now until it expires, None for never, KEEP for as it is.
        size: the number of bytes that it is said to have.
        replace: whether an intact file that is called `new_name` may be replaced.
    """

    new_name: str | None = None
    content_type: str | None = None
    ttl: int | Keep | None = KEEP
    size: int | None = None
    replace: bool = False

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Change:
        """The change that a JSON object with some of `MEMBERS` asks for.

        `{"ttl": null}` makes the file stay; the other members have no null, since every
        file has a name and a type.

        Raises:
            falcon.HTTPBadRequest: a member has the wrong type, or a value that cannot be.
            InvalidNameError: the name cannot be.
        """
        for member in ("name", "content_type"):
            if not isinstance(members.get(member, ""), str):
                raise falcon.HTTPBadRequest(
                    description=f"{member} is a string; leave it out to keep it"
                )
        ttl = members.get("ttl", KEEP)
        if type(ttl) is int:
            check_lifetime(ttl)
        elif ttl is not None and ttl is not KEEP:
            raise falcon.HTTPBadRequest(
                description="ttl is a whole number of seconds, or null for a file that stays"
            )
        replace = members.get("replace", False)
        if type(replace) is not bool:
            raise falcon.HTTPBadRequest(description="replace is true or false")
        change = cls(members.get("name"), members.get("content_type"), ttl, replace=replace)
        return change._checked()

    @classmethod
    def from_form(cls, data: bytes) -> Change | None:
        """The change that an urlencoded form with some of `FIELDS` asks for.

        None where the bytes are no such form: they have another field, or none, or a
        control character, which a form never has as it is.

        Raises:
            falcon.HTTPBadRequest: it is one, but a field is given twice or cannot be.
            InvalidNameError: the name cannot be.
        """
        try:
            pairs = parse_qsl(
                data.decode(),
                keep_blank_values=True,
                strict_parsing=True,
                errors="surrogateescape",
                max_num_fields=2 * len(FIELDS),
            )
        except ValueError:  # UnicodeDecodeError is one
            return None
        fields = dict(pairs)
        if not fields or not fields.keys() <= FIELDS or _CONTROL_CHARACTER.search(data.decode()):
            return None
        if len(fields) != len(pairs):
            raise falcon.HTTPBadRequest(description="a field of the form is given twice")
        size = fields.get("file_size_bytes")
        if size is not None and not _BYTE_COUNT.fullmatch(size):
            raise falcon.HTTPBadRequest(description="file_size_bytes is a number of bytes")
        return cls(
            fields.get("file_name"),
            fields.get("file_type"),
            size=int(size) if size is not None else None,
        )._checked()

    def _checked(self) -> Change:
        if self.new_name is not None:
            check_name(self.new_name)
        if self.content_type is not None:
            try:
                check_content_type(self.content_type)
            except ValueError as error:
                raise falcon.HTTPBadRequest(description=str(error)) from None
        return self
