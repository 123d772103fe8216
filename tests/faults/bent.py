# SPDX-License-Identifier: Apache-2.0
"""The test's end of bent.c: the clocks of a lab's daemons, and which of their calls fail."""
import errno
import mmap
import os
import pathlib
import shutil
import struct

OPEN, SOCKET, FORK, MMAP, THREAD = 1, 2, 4, 8, 16
LAYOUT = struct.Struct("=qqIiQQQQ")

# What each kind of call fails with on a host that has run out.
RUN_OUT = {
    OPEN: (errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    SOCKET: (errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    FORK: (errno.EAGAIN, errno.ENOMEM),
    MMAP: (errno.ENOMEM,),
    THREAD: (errno.EAGAIN,),
}


class Control:
    """What one daemon maps; it outlives the daemon, and the next one of the name goes on with it."""

    def __init__(self, path):
        with open(path, "wb+") as file:
            file.truncate(LAYOUT.size)
            self.map = mmap.mmap(file.fileno(), LAYOUT.size)
        self.realtime_ns = self.boottime_ns = 0

    def write(self, kinds=0, number=0, first=0, times=0):
        self.map[:] = LAYOUT.pack(self.realtime_ns, self.boottime_ns, kinds, number, first, times,
                                  0, 0)

    def clock(self, realtime_s, boottime_s=0):
        """Set the clocks off by so many seconds from now on."""
        self.realtime_ns, self.boottime_ns = int(realtime_s * 1e9), int(boottime_s * 1e9)
        self.map[:16] = struct.pack("=qq", self.realtime_ns, self.boottime_ns)

    def count(self, kinds):
        """From now on only count."""
        self.write(kinds)

    def fail(self, kinds, number, first, times=1):
        self.write(kinds, number, first, times)

    @property
    def seen(self):
        return LAYOUT.unpack(self.map[:])[6]

    @property
    def failed(self):
        return LAYOUT.unpack(self.map[:])[7]


class Bent:
    """The directory; everything that a lab starts with `environment` looks into it."""

    def __init__(self, build, scratch, daemons):
        self.directory = pathlib.Path(scratch) / "bent"
        self.directory.mkdir()
        self.of = {name: Control(self.directory / name) for name in daemons}
        # By a path of ours: LD_PRELOAD knows no way to say one with a space (ld.so(8)).
        library = shutil.copy(pathlib.Path(build) / "tests/faults/libbent.so", self.directory)
        self.environment = {
            "LD_PRELOAD": str(library),
            "DNODE_BENT": str(self.directory),
            # The sanitizer's own library comes after ours: it need not be the first.
            "ASAN_OPTIONS": ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"),
                                                   "verify_asan_link_order=0")))}
