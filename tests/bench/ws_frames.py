"""WebSocket frames (RFC 6455 §5.2), as far as two scripts need them."""

import struct


def header(opcode, size, masked=False):
    bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, bit | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, bit | 127, size)
    # A key of zeros masks nothing, and is a key.
    return head + (bytes(4) if masked else b"")


def split(data):
    """The first frame's opcode, where its payload begins, its size and key; None while its head is not there."""
    if len(data) < 2:
        return None
    opcode, size, at = data[0] & 0x0F, data[1] & 0x7F, 2
    if size > 125:
        width = 2 if size == 126 else 8
        if len(data) < at + width:
            return None
        size = int.from_bytes(data[at:at + width], "big")
        at += width
    mask = bytes(4)
    if data[1] & 0x80:
        if len(data) < at + 4:
            return None
        mask = bytes(data[at:at + 4])
        at += 4
    return opcode, at, size, mask
