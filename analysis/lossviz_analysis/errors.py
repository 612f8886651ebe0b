"""The one base class of everything a user can cause."""


class LossvizError(Exception):
    """Something the user can put right; the message is one sentence for them.

    It says what was expected, what came, and what to do. Programs print the message alone, to
    standard error, and leave with a non-zero exit code; whatever is not a LossvizError is a
    defect of ours.
    """
