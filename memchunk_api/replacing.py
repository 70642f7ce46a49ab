"""PUT of a file: in the place of the one there is, and under another name if a form says so."""

from __future__ import annotations

from memchunk import AlreadyExistsError, FileInfo, NotFoundError, Store
from memchunk.mediatype import guess_content_type
from memchunk.names import check_name
from memchunk_api import preconditions
from memchunk_api.conditional import Preconditions
from memchunk_api.receiving import Upload, Writer


class Replacement:
    """A file that is to stand under a name, whatever stands there, if preconditions hold."""

    def __init__(self, store: Store, writer: Writer, name: str, conditions: Preconditions) -> None:
        """Look whether they do, before anything is received; tags alone the store looks at.

        Raises:
            ChangedError: they do not.
        """
        self._store = store
        self._writer = writer
        self._name = name
        self._is_conditional = bool(conditions)
        self._expected = preconditions.only_tags(conditions)
        if self._expected is None:
            current = preconditions.judge(store, name, conditions)
            # The verdict is on this one: it has to be what is replaced, or nothing is.
            self._expected = {current.sha256} if current is not None else None

    def put(self, upload: Upload, *, ttl: str | None) -> FileInfo:
        """Store the file under its name; where a form has another for it, see `rename`.

        Raises:
            MemchunkError: see `Store.put`. Nothing has changed then.
            AlreadyExistsError, InvalidNameError: the form's name cannot be given.
            ChangedError: the preconditions do not hold any more.
        """
        if upload.form is not None:
            upload.form.at_end = lambda: self._check(self._new_name(upload))
        if not self._is_conditional:
            return self._writer.put(self._name, upload, ttl=ttl, replace=True)
        try:
            return self._writer.put(self._name, upload, ttl=ttl, if_match=self._expected)
        except (AlreadyExistsError, NotFoundError) as error:
            if error.name != self._name:
                raise  # about the name that it shall have
            raise preconditions.failed(self._name) from None

    def rename(self, info: FileInfo, upload: Upload) -> FileInfo:
        """Give what was put the name that its form has for it, if it has one.

        That comes last, for the name may come after the file, and so that whatever happens
        the content stands under one of the names.

        Raises:
            MemchunkError: see `Store.update`. The file keeps the name that it was put under.
        """
        new_name = self._new_name(upload)
        if new_name is None:
            return info
        return self._store.update(
            self._name,
            new_name=new_name,
            content_type=upload.content_type or guess_content_type(new_name),
            if_match={info.sha256},
        )

    def _new_name(self, upload: Upload) -> str | None:
        new_name = upload.form.file_name if upload.form is not None else None
        return new_name if new_name != self._name else None

    def _check(self, new_name: str | None) -> None:
        """Raise what is wrong with a new name while the old file is still there."""
        if new_name is None:
            return
        check_name(new_name)
        if new_name in self._store:
            raise AlreadyExistsError(
                f"there is a file {new_name!r} already; choose another file_name, or delete it",
                name=new_name,
            )
