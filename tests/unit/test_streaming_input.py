"""Where samples come from, and lines of whoever sends them: what is a sample, what is counted, what is refused."""

from __future__ import annotations

import json
import math
import os
import pty
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataError, UsageError
from edgekit.streaming import Counters, Parser, Sample, open_samples, open_source
from edgekit.streaming.lines import MAX_LINE, split_lines

CHANNELS = ("acc_x", "acc_y", "acc_z")


def parsed(*lines: str | bytes, **options: object) -> tuple[list[Sample], Counters]:
    counters = Counters()
    parser = Parser(CHANNELS, counters, **options)
    found = [parser.parse(line if isinstance(line, bytes) else line.encode()) for line in lines]
    return [sample for sample in found if sample is not None], counters


def plain(found: list[Sample]) -> list[tuple[float | None, tuple[float | None, ...]]]:
    """Samples with None for what is missing, which can be compared."""
    return [(s.time, tuple(None if math.isnan(v) else v for v in s.values)) for s in found]


@pytest.mark.parametrize(
    ("lines", "sample"),
    [
        (['{"t": 1.5, "x": [1, 2, 3]}'], (1.5, (1, 2, 3))),
        (['{"x": [1, null, NaN]}'], (None, (1, None, None))),
        (["[1, 2, 3]"], (None, (1, 2, 3))),
        (['{"time": 2, "acc_x": 1, "acc_z": 3, "battery": 4}'], (2, (1, None, 3))),
        (['\ufeff{"timestamp": null, "acc_x": 1, "acc_y": 2, "acc_z": 3}'], (None, (1, 2, 3))),
        (['{"T": 2, "ACC_X": 1, "Acc_y": 2, "acc_z": 3}'], (2, (1, 2, 3))),
        (["1,2,3"], (None, (1, 2, 3))),
        (["1.5,1,2,3"], (1.5, (1, 2, 3))),
        (["# a comment", "", "1.5;1;;3"], (1.5, (1, None, 3))),
        (["1\t2\t-3e-1\r"], (None, (1, 2, -0.3))),
        (["1   2  3"], (None, (1, 2, 3))),
        (["time,acc_x,acc_y,acc_z", "1.5,1,2,3"], (1.5, (1, 2, 3))),
        (["Acc_Z, label ,acc_y,ACC_X,t", '3,"a, b",2,1,1.5'], (1.5, (1, 2, 3))),
        (["acc_x;acc_y;acc_z", "1;2;3"], (None, (1, 2, 3))),
        (["acc_x,acc_y,acc_z", "acc_x,acc_y,acc_z", "1,nan,3"], (None, (1, None, 3))),
    ],
)
def test_one_line_is_one_sample(lines: list[str], sample: tuple[float | None, tuple[float | None, ...]]) -> None:
    found, counters = parsed(*lines)
    assert plain(found) == [sample]
    assert counters.malformed == 0


@pytest.mark.parametrize(
    "line",
    [
        *(
            '{"x": [1, 2]}',
            '{"x": [1, 2, "3"]}',
            '{"x": [1, 2, true]}',
            '{"x": [1, 2, [3]]}',
            '{"t": "now", "x": [1, 2, 3]}',
        ),
        *('{"t": NaN, "x": [1, 2, 3]}', '{"t": 1e999, "x": [1, 2, 3]}', "{}", "{", "[", "[" * 5000, '{"x": {"a": 1}}'),
        *("1,2", "1,2,3,4,5", "a,b,c", "1,2,3_0", "1,2,٣", '1,2,"3', "nan,1,2,3", "inf,1,2,3", "\x00"),
        *(b"\xff\xfe1,2,3", b"1,2," + b"3" * MAX_LINE, "[" + "9" * 5000 + ",1,2]"),
    ],
    ids=lambda line: str(line)[:24],
)
def test_what_is_no_sample_is_counted_and_left_out(line: str | bytes) -> None:
    good = '{"t": 0, "x": [1, 2, 3]}' if str(line)[0] in "{[" else "0,1,2,3"
    for lines in ((good, line, good), (line, good, good)):
        found, counters = parsed(*lines)
        assert plain(found) == [(0, (1, 2, 3))] * 2, lines
        assert counters.malformed == 1


def test_a_comma_at_the_end_is_not_taken_for_a_value_that_is_missing_from_timed_ones() -> None:
    assert parsed("1,2,3,", "1,2,3,")[1].malformed == 2
    assert plain(parsed("0,1,2,3", "1,2,3,")[0])[1] == (1, (2, 3, None)), "after a first row that settles it"


@given(st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)), max_size=99))
def test_no_bytes_are_a_fault_of_ours(lines: list[bytes]) -> None:
    found, counters = parsed(*lines)
    assert len(found) + counters.malformed <= len(lines)
    assert all(s.time is None or math.isfinite(s.time) for s in found)


def test_numbers_come_in_as_they_were_written() -> None:
    values = (0.1, -1e-30, 123456.789)
    text = json.dumps({"x": values})
    assert [s.values for s in parsed(text, ",".join(map(repr, values)), form="json")[0]] == [values]
    assert parsed(",".join(map(repr, values)))[0][0].values == values


def test_times_have_a_unit() -> None:
    found, _ = parsed("1500000000123456789,1,2,3", time_unit="ns")
    assert found[0].time == pytest.approx(1500000000.123456789, abs=1e-6)
    assert parsed("1500,1,2,3", time_unit="ms")[0][0].time == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        (["t,acc_x,acc_y"], {}, "lacks acc_z; it has t, acc_x, acc_y"),
        (["acc_x,acc_y,acc_z,ACC_x"], {}, "names acc_x twice"),
        (
            ["time_ms,acc_x,acc_y,acc_z"],
            {},
            "names time_ms, which is not known as the time; call it t or time",
        ),
        (["1,2,3", *["0.1,1,2,3"] * 100], {}, "100 lines in a row and no sample: the line '0.1,1,2,3' has 4 fields"),
        (["1,2,3", *["0.1,1,2,3"] * 100], {}, "if the first sample, '1,2,3', was a stray one, take it out"),
        (["1,2,3"] * 100, {"form": "json"}, "a line is JSON with 3 channels"),
        (['{"x": [1, 2, 3]}', *['{"t": 1, "x": [1, 2, 3]}'] * 100], {}, "has a time, the first sample had none"),
        (["1,5;2,5;3,5"] * 100, {}, "has decimal commas: write numbers with a point"),
        (["boot"] * 100, {}, "100 lines in a row and no sample: the line 'boot' is neither a header nor 3 numbers"),
        (["1,2,3"], {"time_unit": "ms"}, "the samples carry no times"),
        (["0,1,2,3"], {"stamp": True}, "the samples carry times of their own"),
        ([], {"form": "xml"}, "known are auto, json, csv"),
        ([], {"time_unit": "h"}, "known are s, ms, us, ns"),
    ],
)
def test_what_no_sample_can_come_of_is_refused(lines: list[str], options: dict[str, object], said: str) -> None:
    with pytest.raises((DataError, UsageError)) as refused:
        parsed(*lines, **options)
    assert said in str(refused.value)


def test_a_live_source_waits_for_a_sample_and_says_what_is_wrong() -> None:
    told: list[str] = []
    with (
        open_samples("udp://127.0.0.1:0", CHANNELS, counters := Counters(), tell=told.append) as opened,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        address = ("127.0.0.1", int(opened.source.name.split()[2]))
        sender.sendto(b"x\n" * 150, address)
        sender.sendto(b'{"t": 1, "x": [1, 2, 3]}', address)
        assert next(opened.samples).time == 1
        sender.sendto(b'{"x": [1, 2]}\n' * 150, address)
        sender.sendto(b'{"t": 2, "x": [1, 2, 3]}', address)
        assert next(opened.samples).time == 2
    assert counters.malformed == 300
    assert [text.split(" ")[0] for text in told] == ["the", "100", "100"]
    assert "has 2 values, the program 3 channels; a line is JSON with 3 channels" in told[-1]


def test_whoever_does_not_wait_is_told_that_nothing_came(terminal: tuple[int, str]) -> None:
    ours, name = terminal
    with open_samples(f"serial:{name}", CHANNELS, Counters(), patience=0.01) as opened:
        assert next(opened.awaited) is None
        os.write(ours, b"9\n1,2")
        assert next(opened.awaited) is None
        os.write(ours, b",3\n")
        assert next(sample for sample in opened.awaited if sample).values == (1, 2, 3)
    with (
        open_samples("udp://127.0.0.1:0", CHANNELS, Counters(), patience=0.01) as opened,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        assert next(opened.awaited) is None
        for datagram in (b"", b"noise\n1,2,3\n"):
            sender.sendto(datagram, ("127.0.0.1", int(opened.source.name.split()[2])))
            assert next(opened.awaited) is None
        assert next(opened.samples).values == (1, 2, 3)


def test_nobody_waits_for_a_writer_of_a_named_pipe_or_for_the_end_of_its_line(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    with open_samples(str(pipe), CHANNELS, Counters(), patience=0.01) as opened:
        assert [next(opened.awaited) for _ in range(3)] == [None] * 3
        os.close(os.open(pipe, os.O_WRONLY))  # came and went without a word
        assert [next(opened.awaited) for _ in range(3)] == [None] * 3
        with pipe.open("wb", buffering=0) as writer:
            for _ in range(3):
                writer.write(b"1")
                assert next(opened.awaited) is None
            writer.write(b",2,3\n")
            assert next(sample for sample in opened.awaited if sample).values == (111, 2, 3)
        assert not any(opened.awaited)


def test_a_live_sample_without_a_time_whose_unit_was_given_is_a_stray() -> None:
    parser = Parser(CHANNELS, counters := Counters(), time_unit="ms")
    parser.endless = True
    found = [parser.parse(line) for line in (b"1,2,3", b"1500,1,2,3", b"1,2,3")]
    assert [sample and sample.time for sample in found] == [None, 1.5, None]
    assert counters.malformed == 2


@pytest.mark.parametrize(
    ("options", "stray", "line", "said"),
    [
        ({"time_unit": "ms"}, "1500,1,2,3", "1,2,3", "--time-unit ms: the samples carry no times, as the line '1,2,3'"),
        ({"stamp": True}, "1,2,3", "5,1,2,3", "--stamp: the samples carry times of their own, as the line '5,1,2,3'"),
    ],
)
def test_an_option_that_is_of_no_use_to_a_live_source_is_refused_after_a_few_lines(
    options: dict[str, object], stray: str, line: str, said: str
) -> None:
    for before in ([], [stray]):
        parser = Parser(CHANNELS, counters := Counters(), **options)
        parser.endless = True
        assert [parser.parse(text.encode()) is None for text in [*before, *[line] * 4]] == [False] * len(before) + [
            True
        ] * 4
        with pytest.raises(UsageError, match="leave it out") as refused:
            parser.parse(line.encode())
        assert said in str(refused.value)
        assert counters.malformed == 4


def test_a_file_with_much_that_is_no_sample_in_its_midst_is_read_on() -> None:
    found, counters = parsed(*["1,2,3"] * 200, *["boot"] * 150, "4,5,6")
    assert (len(found), counters.malformed) == (201, 150)


@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 7))
def test_lines_are_the_same_in_whatever_pieces_they_come(lines: list[bytes], size: int) -> None:
    text = b"\n".join(line.replace(b"\n", b"").replace(b"\r", b"") for line in lines)
    pieces = iter([text[at : at + size] for at in range(0, len(text), size)])
    expected = text.split(b"\n")
    found = [line for line in split_lines(lambda: next(pieces, b"")) if line is not None]
    assert found == (expected if expected[-1] else expected[:-1])


def test_a_line_without_an_end_takes_no_memory_and_keeps_nobody_waiting() -> None:
    pieces = iter([b"x" * 50_000] * 100 + [b"\nnext\r\nlast"])
    found = list(split_lines(lambda: next(pieces, b"")))
    assert [len(line) for line in found if line is not None] == [MAX_LINE + 1, 4, 4]
    assert found.count(None) == 100


def test_a_file_and_a_named_pipe(tmp_path: Path) -> None:
    file, pipe = tmp_path / "s.csv", tmp_path / "pipe"
    file.write_text("1,2,3\n4,5,6")
    with open_samples(str(file), CHANNELS, Counters()) as opened:
        assert [s.values for s in opened.samples] == [(1, 2, 3), (4, 5, 6)]
        assert not opened.source.live
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("label,acc_z,acc_y,acc_x\nsit,3,2,1\n",))
    writer.start()
    with open_samples(str(pipe), CHANNELS, Counters(), stamp=True) as opened:
        (sample,) = opened.samples
        assert sample.values == (1, 2, 3)
        assert sample.time is not None
        assert (opened.source.live, opened.unused) == (True, ("label",))
    writer.join()


def test_a_udp_port_takes_what_is_sent_to_this_computer() -> None:
    with open_samples("udp://127.0.0.1:0", CHANNELS, Counters()) as opened:
        port = int(opened.source.name.split()[2])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b'{"t": 1, "x": [1, 2, 3]}\n{"t": 2, "x": [4, 5, 6]}', ("127.0.0.1", port))
            sender.sendto(b"[", ("127.0.0.1", port))
            sender.sendto(b'{"t": 3, "x": [7, 8, 9]}', ("127.0.0.1", port))
        assert [next(opened.samples).time for _ in range(3)] == [1, 2, 3]
        assert "127.0.0.1" in opened.source.name
        with pytest.raises(DataError, match="cannot be listened on"), open_source(f"udp://127.0.0.1:{port}"):
            pass


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """Both ends of a pseudo-terminal, which is a serial port to whoever opens it."""
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    yield ours, name
    os.close(theirs)


def test_a_serial_port_skips_the_line_it_came_into_and_says_when_it_is_gone(terminal: tuple[int, str]) -> None:
    ours, name = terminal
    with open_samples(f"serial:{name}@9600", CHANNELS, Counters()) as opened:
        os.write(ours, b"2,3\r\n1,2,3\r\n4,5,")
        os.write(ours, b"6\r\n")
        assert [next(opened.samples).values for _ in range(2)] == [(1, 2, 3), (4, 5, 6)]
        assert opened.source.name == f"{name} at 9600 baud"
        os.close(ours)
        with pytest.raises(DataError, match="is gone"):
            next(opened.samples)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file whose beginning cannot be read: Linux has one")
def test_a_file_that_breaks_off_has_not_ended() -> None:
    with (
        open_samples("/proc/self/mem", CHANNELS, Counters()) as opened,
        pytest.raises(DataError, match="cannot be read: Input/output error"),
    ):
        next(opened.samples)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere.csv", "No such file"),
        (".", "is a folder"),
        ("a\0b", "is no name of a file"),
        ("http://localhost/", "is no source that is known"),
        *((bad, "udp://127.0.0.1:5005") for bad in ("udp:5005", "udp://127.0.0.1", "udp://[x]:1", "udp://h:99999")),
        ("udp://127.0.0.1:1/path", "udp://127.0.0.1:5005"),
        ("udp://127.0.0.1:1#x", "udp://127.0.0.1:5005"),
        ("serial:ttyACM0", "names no device"),
        ("serial:/dev/null@fast", "is no speed"),
        ("serial:/dev/null@7", "is none that this system has"),
        ("serial:/dev/null", "is no serial port"),
        ("serial:/dev/nothing", "cannot be opened"),
    ],
)
def test_a_source_that_is_none_is_said(source: str, said: str) -> None:
    with pytest.raises((DataError, UsageError)) as refused, open_source(source):
        pass
    assert said in str(refused.value)


def test_a_source_without_samples_says_what_was_there_instead(tmp_path: Path) -> None:
    for text, said in (("", "holds no samples; give a line"), ("1,2\n", "the line '1,2' is neither a header nor 3")):
        (tmp_path / "s.csv").write_text(text)
        with (
            pytest.raises(DataError, match=said),
            open_samples(str(tmp_path / "s.csv"), CHANNELS, Counters()) as opened,
        ):
            list(opened.samples)
    with (
        pytest.raises(UsageError, match="is a file"),
        open_samples(str(tmp_path / "s.csv"), CHANNELS, Counters(), stamp=True),
    ):
        pass
