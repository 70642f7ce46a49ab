"""Names as words of a line of bash that is being typed: whatever is in them, nothing is run.

bash puts what completes a word into the line as it is. Names were chosen by whoever may store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# No comma: where one stands at the end, the script that reads the names takes it away.
_PLAIN = re.compile(r"[\w@%+=:./-]+", re.ASCII)


def typed(environ: Mapping[str, str]) -> str:
    """The word that is being completed, with its quotes, as bash tells of it."""
    words = environ.get("COMP_WORDS", "").split("\n")
    index = int(environ.get("COMP_CWORD", "0"))
    return words[index] if index < len(words) else ""


def quoted(names: Sequence[str], word: str) -> list[str]:
    """What may take the place of `word`: the names, quoted alike if one of them has need of it.

    bash takes a quote at the start of `word` away where the name brings the same one. With
    others further on there is no telling where a name would go, so that there are none.
    """
    opening = word[:1] if word[:1] in ("'", '"') else ""
    if set(word[len(opening) :]) & set("'\"$`\\" if opening else "'\"$`"):
        return []
    if all(_PLAIN.fullmatch(name) for name in names):
        return list(names)
    quote = _in_double_quotes if opening == '"' else _in_single_quotes
    # The script that reads them takes one of two backslashes away.
    return [quote(name).replace("\\", "\\\\") for name in names]


def _in_single_quotes(name: str) -> str:
    return "'" + name.replace("'", "'\"'\"'") + "'"


def _in_double_quotes(name: str) -> str:
    escaped = re.sub(r'[\\"$`]', r"\\\g<0>", name)
    return '"' + escaped.replace("!", "\"'!'\"") + '"'  # no backslash helps against history
