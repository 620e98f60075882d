"""What a file out of an archive is called in its upload. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def choose(names: Sequence[str], waiting: Collection[str], taken: Collection[str]) -> str:
    """The first of `names` that the table waits for (`waiting`, casefolded); else the first, unless another file has it already.

    `names` is the path in the archive without the one folder that holds everything, the whole path, and the path behind the archive's
    own name, which is nobody else's. `taken` are the names of other files of the upload.
    """
    for name in names:
        if name.casefold() in waiting:
            return name
    return names[0] if names[0] not in taken else names[-1]
