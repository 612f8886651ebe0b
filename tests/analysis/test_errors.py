"""What went wrong, in the fewest words."""

from lossviz_analysis.errors import describe


def test_an_exception_in_one_line():
    assert describe(ValueError("a\nb")) == "ValueError: a"
    assert describe(KeyboardInterrupt()) == "KeyboardInterrupt"
