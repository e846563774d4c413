"""JSON lines that survive their writer: torn ends, two writers, numbers bit for bit."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import struct
from pathlib import Path

import pytest

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.store.lines import LineWriter, read_lines

ROWS = [{"n": 1}, {"n": 2, "text": "größer\n"}, {"n": 3, "values": [0.1, None]}]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "deep" / "record.jsonl"


def write(path: Path, rows=ROWS) -> bytes:
    with LineWriter(path) as writer:
        for row in rows:
            writer.append(row)
    return path.read_bytes()


def test_rows_come_back_in_their_order_and_a_second_writer_adds_to_them(path):
    assert read_lines(path) == []
    write(path)
    write(path, [{"n": 4}])
    assert read_lines(path) == [*ROWS, {"n": 4}]


def test_wherever_the_file_is_cut_the_whole_lines_stay_and_the_next_writer_goes_on_after_them(path):
    content = write(path)
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        whole = content[:size].count(b"\n")
        assert read_lines(path) == ROWS[:whole]
        write(path, [{"n": 9}])
        assert read_lines(path) == [*ROWS[:whole], {"n": 9}]
        assert path.read_bytes().count(b"\n") == whole + 1


@pytest.mark.parametrize(
    "damage", [b"\x00" * 20, b"\x00" * 9 + b"\n", b'{"n": 2}', b"[1]\n", b"5\n", b"\xff\xfe\n", b"\n"]
)
def test_nothing_counts_from_a_damaged_line_on(path, damage):
    first, *rest = write(path).splitlines(keepends=True)
    path.write_bytes(first + damage + b"".join(rest))
    assert read_lines(path) == ROWS[:1]
    write(path, [{"n": 9}])
    assert read_lines(path) == [ROWS[0], {"n": 9}]


def test_numbers_come_back_bit_for_bit(path):
    numbers = [0.1 + 0.2, 1e-320, -0.0, 1.7976931348623157e308, math.pi, math.inf, -math.inf, 2**63]
    write(path, [{"numbers": numbers, "nan": math.nan}])
    (row,) = read_lines(path)
    assert [struct.pack("d", x) for x in row["numbers"]] == [struct.pack("d", x) for x in numbers]
    assert math.isnan(row["nan"])


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\r", "\x0b", "\x1c"])
def test_only_the_newline_ends_a_line(path, separator):
    rows = [{"error": f"one{separator}two"}, {"n": 2}]
    write(path, rows)
    assert read_lines(path) == rows


def test_keep_cuts_off_what_comes_after(path):
    write(path)
    with LineWriter(path) as writer:
        writer.keep(2)
        assert read_lines(path) == ROWS[:2]
        writer.append({"n": 9})
        assert read_lines(path) == [*ROWS[:2], {"n": 9}]
        writer.keep(0)
        assert path.read_bytes() == b""
        writer.append({"n": 1})
    assert read_lines(path) == [{"n": 1}]


def test_a_line_is_on_the_disk_before_append_returns(path, monkeypatch):
    synced = []
    with LineWriter(path) as writer:
        monkeypatch.setattr(os, "fsync", lambda number: synced.append(path.read_bytes()))
        writer.append({"n": 1})
    assert [json.loads(content) for content in synced] == [{"n": 1}]


def hold(path: Path, pipe) -> None:
    with LineWriter(path) as writer:
        writer.append({"by": "another"})
        pipe.send("it writes")
        pipe.recv()


def test_while_another_process_writes_nobody_else_does_and_its_lines_stay(path):
    context = multiprocessing.get_context("fork")
    pipe, its_end = context.Pipe()
    other = context.Process(target=hold, args=(path, its_end))
    other.start()
    assert pipe.poll(30)
    with pytest.raises(StorageError, match=r"record\.jsonl is written by another process: wait until it has ended"):
        LineWriter(path, wait=0.2)
    assert read_lines(path) == [{"by": "another"}]
    other.kill()
    other.join(30)
    write(path, [{"by": "me"}])
    assert read_lines(path) == [{"by": "another"}, {"by": "me"}]


def test_where_there_are_no_locks_everybody_may_write(path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert write(path)
