"""What can go wrong with one clip, said so that its owner can act on it."""

from manifests.shown_text import visible


class Problem(Exception):
    """A clip cannot be finished. Both texts end in the clip's result row.

    `error` names the field and the value at fault, `remedy` what to do about it. Raised as it is, the row ends as
    `failed`: something around the clip is wrong (a checkpoint, the encoder, the cluster).
    """

    def __init__(self, error: str, remedy: str) -> None:
        error, remedy = visible(error), visible(remedy)
        super().__init__(error, remedy)
        self.error = error
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.error} → {self.remedy}"


class Rejected(Problem):
    """The row's own input is at fault: bad field, missing file, unreadable media. The row ends as `rejected`."""


class Again(Problem):
    """What a clip builds on has changed or was damaged, and is out of its way now: the row is to be done once more.

    From validation on, in a later round of the same run; a row that asks for it too often ends as `failed`.
    """


class Damaged(Problem):
    """A file that Catwalk itself has written cannot be read: it was cut short, or its bytes are others."""


class NotFinite(Problem):
    """A network answered with NaN or infinity, or with nothing but black: most often its half precision overflowed.

    A clip is then made once more in float32. `frames` of an animator raises it where it finds such values.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what, "set dtype to float32 or bfloat16 in the configuration and run again")


class WrongUsage(Problem):
    """A command was given what it cannot use: an option, a configuration, a run id. Nothing was begun."""
