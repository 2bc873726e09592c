"""Messages over a pipe."""

import io
import struct

import numpy as np
import pytest

from napari_mmtseg._napari.process.pipe import GarbledError, Receiver, Sender, UnreadableError

MARK = b"0123456789abcdef"


class Odd:
    def __reduce__(self):
        return int, ("x",)


class Huge:
    def __reduce__(self):
        raise MemoryError


def sent(*messages, before=b""):
    pipe = io.BytesIO(before)
    pipe.seek(0, io.SEEK_END)
    sender = Sender(pipe, MARK)
    for message in messages:
        sender.send(message)
    pipe.seek(0)
    return pipe


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=">i2").reshape(2, 3, 4),
        np.arange(24).reshape(4, 6)[:, ::2],
        np.asfortranarray(np.arange(24.0).reshape(4, 6)),
        np.empty((0, 3)),
        np.ma.masked_less(np.arange(5), 2),
    ],
)
def test_arrays_arrive_as_they_were(array):
    receiver = Receiver(sent(array, "next"), MARK)
    got = receiver.receive()
    np.testing.assert_array_equal(got, array)
    assert got.dtype == array.dtype
    assert got.flags.writeable
    assert receiver.receive() == "next"
    with pytest.raises(EOFError):
        receiver.receive()


def test_what_is_printed_ahead_of_the_first_message_is_passed_over():
    receiver = Receiver(sent(1, 2, before=b"warning: 0123456789abc\n01"), MARK)
    assert [receiver.receive(), receiver.receive()] == [1, 2]


def test_what_is_printed_between_messages_is_refused():
    pipe = sent(1)
    pipe.seek(0, io.SEEK_END)
    pipe.write(b"a line longer than the mark\n")
    pipe.seek(0)
    receiver = Receiver(pipe, MARK)
    assert receiver.receive() == 1
    with pytest.raises(GarbledError):
        receiver.receive()


def test_a_message_that_cannot_be_unpacked_does_not_spoil_the_next():
    receiver = Receiver(sent(Odd(), 2), MARK)
    with pytest.raises(UnreadableError):
        receiver.receive()
    assert receiver.receive() == 2


def test_a_message_without_room_does_not_spoil_the_next(monkeypatch):
    receiver = Receiver(sent(np.zeros(10_000_000, np.uint8), 2), MARK)
    empty = np.empty

    def little(size, dtype):
        if size > 1_000_000:
            raise MemoryError
        return empty(size, dtype)

    monkeypatch.setattr(np, "empty", little)
    with pytest.raises(MemoryError):
        receiver.receive()
    assert receiver.receive() == 2


def test_a_message_that_cannot_be_packed_leaves_the_pipe_as_it_was():
    pipe = io.BytesIO()
    with pytest.raises(MemoryError):
        Sender(pipe, MARK).send([np.zeros(9), Huge()])
    assert not pipe.getvalue()


def test_sizes_out_of_this_world_are_refused():
    for head in (struct.pack("<I", 2**31), struct.pack("<IQ", 1, 2**63 + 5)):
        with pytest.raises((GarbledError, MemoryError, EOFError)):
            Receiver(io.BytesIO(MARK + head), MARK).receive()
