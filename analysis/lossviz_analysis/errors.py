"""The one base class of everything a user can cause, and how anything else is said."""


class LossvizError(Exception):
    """Something the user can put right; the message is one sentence for them.

    It says what was expected, what came, and what to do. Programs print the message alone, to
    standard error, and leave with a non-zero exit code; whatever is not a LossvizError is a
    defect of ours.
    """


def describe(error: BaseException) -> str:
    """An exception in one line: its type and the first line of its message."""
    first_line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
