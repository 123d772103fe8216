# SPDX-License-Identifier: Apache-2.0
"""The test's end of shim.c: decides what becomes of each call of a daemon that touches a file.

    shim = Shim(build, scratch, ("dnode-supervisor",))
    daemon = subprocess.Popen([...], env=dict(os.environ, **shim.environment))
    with shim.armed("/var/lib/x", Fail(("write", "sync"), errno.ENOSPC)) as policy:
        ...
    assert policy.hits

Operations: open (to write), look (to read), write, read, sync, syncfs, truncate, rename, link,
mkdir, unlink. A policy is called with (op, path, after) and answers GO, TELL (ask again after the
call), KILL, or an errno.
"""
import contextlib
import filecmp
import mmap
import os
import pathlib
import re
import shutil
import socket
import stat
import struct
import threading

GO, TELL, KILL = 0, 1001, 1002
CONTROL_BYTES = 4096
CHANGES = ("open", "write", "sync", "syncfs", "truncate", "rename", "link", "mkdir", "unlink")


class Shim:
    """One directory, one server thread; daemons may come and go."""

    def __init__(self, build, scratch, programs):
        self.directory = pathlib.Path(scratch) / "shim"
        self.directory.mkdir()
        # By a path of ours: LD_PRELOAD knows no way to say one with a space (ld.so(8)).
        library = shutil.copy(pathlib.Path(build) / "tests/faults/libshim.so", self.directory)
        with open(self.directory / "control", "wb+") as file:
            file.truncate(CONTROL_BYTES)
            self.control = mmap.mmap(file.fileno(), CONTROL_BYTES)
        self.environment = {
            "LD_PRELOAD": str(library), "DNODE_SHIM": str(self.directory),
            "DNODE_SHIM_PROGRAMS": ":".join(programs),
            # The sanitizer's own library comes after ours: it need not be the first.
            "ASAN_OPTIONS": "verify_asan_link_order=0"}
        self.policy = None
        self.lock = threading.Lock()
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.server.bind(str(self.directory / "socket"))
        self.server.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        # A daemon that is killed resets it.
        with connection, contextlib.suppress(OSError):
            while message := connection.recv(16384):
                op, _, path = message.decode(errors="surrogateescape").partition(" ")
                connection.send(struct.pack("I", self.decide(op, path)))

    def decide(self, op, path):
        with self.lock:
            if self.policy is None:
                return GO
            return self.policy(op.rstrip("!"), path, op.endswith("!"))

    @contextlib.contextmanager
    def armed(self, prefix, policy):
        data = os.fsencode(str(prefix)) + b"\0"
        self.control[8:8 + len(data)] = data
        with self.lock:
            self.policy = policy
        self.control[0:4] = struct.pack("I", 1)
        try:
            yield policy
        finally:
            self.control[0:4] = struct.pack("I", 0)
            with self.lock:
                self.policy = None

    def close(self):
        self.server.close()


class Fail:
    """Matching calls fail: all after the first @skip, or @times of them."""

    def __init__(self, ops, number, match="", skip=0, times=None):
        self.ops, self.number, self.match = ops, number, re.compile(match)
        self.skip, self.times, self.hits = skip, times, 0

    def __call__(self, op, path, after):
        if op not in self.ops or not self.match.search(path):
            return GO
        if self.skip > 0:
            self.skip -= 1
            return GO
        if self.times is not None and self.hits >= self.times:
            return GO
        self.hits += 1
        return self.number


class Full(Fail):
    """What a full disk (or quota, or inode table) does; removing still works."""

    def __init__(self, number, match="", ops=("open", "write", "mkdir", "link", "rename"), skip=0):
        super().__init__(ops, number, match, skip)

    def __call__(self, op, path, after):
        # An existing file can be opened, an existing directory is said to be there.
        if op in ("open", "mkdir", "link") and os.path.lexists(path):
            return GO
        return super().__call__(op, path, after)


class ReadOnly(Fail):
    """What a file system does that has turned read-only under open files."""

    def __init__(self, number, match=""):
        super().__init__(CHANGES, number, match)

    def __call__(self, op, path, after):
        # What is there, or is not, is looked at first.
        if op in ("mkdir", "link") and os.path.lexists(path) or (
                op == "unlink" and not os.path.lexists(path)):
            return GO
        return super().__call__(op, path, after)


class Count:
    """Lets everything pass and remembers it."""

    def __init__(self, ops=CHANGES, match=""):
        self.ops, self.match, self.calls = ops, re.compile(match), []

    def __call__(self, op, path, after):
        if op in self.ops and self.match.search(path):
            self.calls.append((op, path))
        return GO


class KillAt:
    """SIGKILL before or after the call that is number @number of those that match.

    After: or, when that call fails, which nobody is told of, before the next one.
    """

    def __init__(self, number, after=False, ops=CHANGES, match=""):
        self.number, self.after, self.ops, self.match = number, after, ops, re.compile(match)
        self.seen, self.hits, self.where, self.owed = 0, 0, None, False

    def __call__(self, op, path, after):
        if self.owed and (not after or self.where == (op, path)):
            self.owed = False
            return KILL
        if after or op not in self.ops or not self.match.search(path) or self.hits:
            return GO
        self.seen += 1
        if self.seen <= self.number:
            return GO
        self.hits, self.where, self.owed = 1, (op, path), self.after
        return TELL if self.after else KILL


class Shadow:
    """Remembers what of a directory has been synced; restore() leaves nothing else of it.

    A file is what it was at its last fsync; a directory's names are those of its last fsync. That
    is the least that any file system keeps over a loss of power. Everything that is there when it
    begins counts as synced. Asks @also, another policy, what becomes of each call. What bears a
    name of @skip at the top is left alone.
    """

    def __init__(self, top, store, also=None, skip=()):
        self.top, self.store, self.also, self.skip = str(top), pathlib.Path(store), also, set(skip)
        shutil.rmtree(store, ignore_errors=True)
        self.store.mkdir(parents=True)
        self.files, self.names, self.where, self.syncs = {}, {}, {}, 0
        self.take_all()

    @staticmethod
    def key(info):
        return info.st_dev, info.st_ino

    def take_file(self, path):
        with contextlib.suppress(FileNotFoundError):
            info = os.lstat(path)
            link = os.readlink(path) if stat.S_ISLNK(info.st_mode) else None
            copy = self.store / f"{info.st_dev}-{info.st_ino}"
            if stat.S_ISREG(info.st_mode):
                shutil.copyfile(path, copy)
            elif link is None:
                return
            self.files[self.key(info)] = (info.st_mode, info.st_uid, info.st_gid, link, copy)

    def take_names(self, path):
        with contextlib.suppress(FileNotFoundError):
            info, names = os.lstat(path), {}
            for entry in os.scandir(path):
                inner = entry.stat(follow_symlinks=False)
                names[entry.name] = (stat.S_ISDIR(inner.st_mode), self.key(inner))
                # A name that is new and was never synced leads to an empty file. Its number may
                # have been somebody else's.
                if stat.S_ISREG(inner.st_mode) and inner.st_size == 0:
                    self.take_file(entry.path)
            self.names[self.key(info)] = (info.st_mode, info.st_uid, info.st_gid, names)

    def take_all(self):
        for folder, folders, files in os.walk(self.top):
            if folder == self.top:
                folders[:] = [name for name in folders if name not in self.skip]
            self.take_names(folder)
            for name in files:
                self.take_file(os.path.join(folder, name))

    def __call__(self, op, path, after):
        if not after:
            answer = self.also(op, path, False) if self.also else GO
            return TELL if answer == GO and op in ("sync", "syncfs", "open", "mkdir") else answer
        if op == "sync":
            self.syncs += 1
            (self.take_names if os.path.isdir(path) else self.take_file)(path)
        elif op == "syncfs":
            self.syncs += 1
            self.take_all()
        elif op == "mkdir":
            # Its number may have been another's.
            with contextlib.suppress(FileNotFoundError):
                self.names.pop(self.key(os.lstat(path)), None)
        elif op == "open" and os.path.isfile(path) and os.path.getsize(path) == 0:
            with contextlib.suppress(FileNotFoundError):
                self.files.pop(self.key(os.lstat(path)), None)
        return self.also(op, path, True) if self.also else GO

    def restore(self):
        """The power is gone: only what was synced is there.

        What is as it was synced stays the very same file or directory: nodes that go on stand on it.
        """
        top = self.key(os.lstat(self.top))
        old = self.top + ".lost"
        os.rename(self.top, old)
        self.where = {}
        for folder, folders, files in os.walk(old):
            for name in folders + files:
                path = os.path.join(folder, name)
                self.where[self.key(os.lstat(path))] = path
        self.rebuild(top, self.top)
        for name in self.skip & set(os.listdir(old)):
            os.rename(os.path.join(old, name), os.path.join(self.top, name))
        shutil.rmtree(old)

    def is_whole_file(self, key):
        """Is it still there with the content that was synced?"""
        path = self.where.get(key)
        if path is None or key not in self.files:
            return False
        mode, uid, gid, link, copy = self.files[key]
        info = os.lstat(path)
        if (info.st_mode, info.st_uid, info.st_gid) != (mode, uid, gid):
            return False
        return os.readlink(path) == link if link is not None else filecmp.cmp(path, copy, False)

    def is_whole(self, key):
        """Is the directory still there with the names that were synced, and all below it?"""
        path = self.where.get(key)
        if path is None or key not in self.names:
            return False
        mode, uid, gid, names = self.names[key]
        info = os.lstat(path)
        return (info.st_mode, info.st_uid, info.st_gid) == (mode, uid, gid) and names.keys() == set(
            os.listdir(path)) and all(
                self.key(os.lstat(os.path.join(path, name))) == inner and (
                    self.is_whole(inner) if is_directory else self.is_whole_file(inner))
                for name, (is_directory, inner) in names.items())

    def move(self, key, target):
        os.rename(self.where[key], target)
        for folder, folders, files in os.walk(target):
            for name in folders + files:
                path = os.path.join(folder, name)
                self.where[self.key(os.lstat(path))] = path

    def rebuild(self, key, path):
        mode, uid, gid, names = self.names.get(key, (0o40700, 0, 0, {}))
        os.mkdir(path)
        for name, (is_directory, inner) in names.items():
            if path == self.top and name in self.skip:
                continue
            target = os.path.join(path, name)
            if is_directory and self.is_whole(inner):
                self.move(inner, target)
            elif is_directory:
                self.rebuild(inner, target)
            elif self.is_whole_file(inner):
                os.link(self.where[inner], target, follow_symlinks=False)
            else:
                self.rebuild_file(inner, target)
        os.chown(path, uid, gid)
        os.chmod(path, stat.S_IMODE(mode))

    def rebuild_file(self, key, path):
        if key not in self.files:  # its name was synced, it was not
            pathlib.Path(path).touch(0o600)
            return
        mode, uid, gid, link, copy = self.files[key]
        if link is not None:
            os.symlink(link, path)
        else:
            shutil.copyfile(copy, path)
            os.chmod(path, stat.S_IMODE(mode))
        os.chown(path, uid, gid, follow_symlinks=False)
        # Another name of it leads to the same file.
        self.where[key] = path
