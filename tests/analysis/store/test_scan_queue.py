"""The order of waiting scans: of asking, unless somebody wants another; durable, harmless."""

import pytest

from lossviz_analysis.store import durable
from lossviz_analysis.store.fields import StoreError
from lossviz_analysis.store.scan_queue import (
    MAX_NAMED,
    QUEUE_NAME,
    read_order,
    set_order,
    waiting,
)
from lossviz_analysis.store.scans import cancel, find_scans, scan_folder, submit


@pytest.fixture
def asked(run, ask):
    """Three scans, asked for one after the other."""
    return sorted(submit(run, ask()) for _ in range(3))


def ids(run):
    return [scan.scan_id for scan in waiting(run)]


def test_a_run_without_the_file_is_as_before(run, asked):
    assert not (run / "scans" / QUEUE_NAME).exists()
    assert ids(run) == asked
    assert read_order(run) == ()
    assert waiting(run / "nowhere") == []


def test_the_order_asked_for_is_that_of_the_queue(run, asked):
    first, second, third = asked
    set_order(run, [third, first, second])
    assert ids(run) == [third, first, second]
    assert [scan.scan_id for scan in find_scans(run)] == asked


def test_what_is_not_named_comes_after_and_what_does_not_wait_is_passed_over(run, ask, asked):
    first, second, third = asked
    set_order(run, [third, "gone", third, second])
    cancel(scan_folder(run, second))
    later = submit(run, ask())
    assert ids(run) == [third, first, later]


def test_an_order_is_durable_and_replaced_at_once(run, asked, monkeypatch):
    puts = []
    monkeypatch.setattr(
        "lossviz_analysis.store.scan_queue.put",
        lambda path, content, **how: puts.append(how) or durable.put(path, content, **how),
    )
    set_order(run, asked[::-1])
    set_order(run, asked)
    assert puts == [{"durable": True}] * 2
    assert ids(run) == asked
    files = {path.name for path in (run / "scans").iterdir() if path.is_file()}
    assert files == {QUEUE_NAME, "zarr.json"}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"\n" * 9, b"{}", b"x" * 2**20])
def test_what_is_no_list_changes_nothing(run, asked, content):
    (run / "scans" / QUEUE_NAME).write_bytes(content)
    assert ids(run) == asked


def test_a_link_or_a_folder_in_its_place_changes_nothing(run, asked, tmp_path):
    (tmp_path / "elsewhere").write_text("\n".join(asked[::-1]))
    (run / "scans" / QUEUE_NAME).symlink_to(tmp_path / "elsewhere")
    assert ids(run) == asked
    (run / "scans" / QUEUE_NAME).unlink()
    (run / "scans" / QUEUE_NAME).mkdir()
    assert ids(run) == asked
    with pytest.raises(StoreError, match="cannot be written"):
        set_order(run, asked)


def test_a_list_without_end_is_cut(run):
    (run / "scans").mkdir(exist_ok=True)
    set_order(run, [str(k) for k in range(MAX_NAMED + 7)])
    assert len(read_order(run)) == MAX_NAMED
