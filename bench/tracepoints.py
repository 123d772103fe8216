# SPDX-License-Identifier: Apache-2.0
"""Takes the raw tracepoints of a pinned sensor away and puts them back: bpf(2), with nothing else.

For benchmarks only, while its agent is stopped: a running one notices and repairs.
"""
import ctypes
import os
import pathlib
import platform
import struct

BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
PIN, GET, PROGRAM_BY_ID, INFO, RAW_TRACEPOINT = 6, 7, 13, 15, 17
LINK_RAW_TRACEPOINT = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = LIBC.syscall(BPF, command, buffer, 128)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf command {command}: {os.strerror(number)}")
    return result


def address(text):
    """A C string, and where it is; keep the first as long as the second is used."""
    buffer = ctypes.create_string_buffer(os.fsencode(text))
    return buffer, ctypes.addressof(buffer)


def describe(link_fd):
    """Number of the program and name of the tracepoint of a link, or None for another kind."""
    name = ctypes.create_string_buffer(64)
    info = ctypes.create_string_buffer(struct.pack("=IIIIQI", 0, 0, 0, 0, ctypes.addressof(name),
                                                   64).ljust(128, b"\0"), 128)
    bpf(INFO, struct.pack("=IIQ", link_fd, 128, ctypes.addressof(info)))
    kind, _, program = struct.unpack_from("=III", info.raw)
    return (program, name.value.decode()) if kind == LINK_RAW_TRACEPOINT else None


class Tracepoints:
    """Those that are pinned as links in a directory; attached at first."""

    def __init__(self, directory):
        self.programs = {}  # path -> (descriptor of the program, tracepoint)
        for path in sorted(pathlib.Path(directory).glob("link_*")):
            kept, where = address(path)
            link = bpf(GET, struct.pack("=Q", where))
            found = describe(link)
            os.close(link)
            del kept
            if found:
                program = bpf(PROGRAM_BY_ID, struct.pack("=I", found[0]))
                self.programs[path] = (program, found[1])

    def detach(self):
        for path in self.programs:
            path.unlink(missing_ok=True)  # the pin is all that holds the link

    def attach(self):
        for path, (program, tracepoint) in self.programs.items():
            if path.exists():
                continue
            kept, where = address(tracepoint)
            link = bpf(RAW_TRACEPOINT, struct.pack("=QI", where, program))
            pinned, at = address(path)
            bpf(PIN, struct.pack("=QI", at, link))
            os.close(link)
            del kept, pinned
