# SPDX-License-Identifier: Apache-2.0
"""An ordinary service in Python: http.server with a thread a connection; /do?what=NAME does a deed."""
import asyncio
import concurrent.futures
import ctypes
import hashlib
import http.server
import json
import multiprocessing
import os
import re
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
import zlib

COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))


def ctypes_calls():
    """C called from Python."""
    assert ctypes.CDLL(None).abs(-3) == 3


def ctypes_callbacks():
    """Python called from C: libffi makes a little function for that, at run time."""
    numbers = (ctypes.c_int * 5)(5, 1, 4, 2, 3)
    ctypes.CDLL(None).qsort(numbers, 5, ctypes.sizeof(ctypes.c_int),
                            COMPARE(lambda a, b: a[0] - b[0]))
    assert list(numbers) == [1, 2, 3, 4, 5], list(numbers)


def tls():
    """A handshake with itself."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    server.load_cert_chain("/srv/tls.pem")
    client.load_verify_locations("/srv/tls.pem")
    left, right = socket.socketpair()
    done = []

    def serve():
        with server.wrap_socket(left, server_side=True) as link:
            done.append(link.recv(16))
    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(right, server_hostname="localhost") as link:
        link.sendall(b"secret")
    thread.join()
    assert done == [b"secret"], done


def thread_pools():
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda n: n * n, range(200))) == 2646700


def processes():
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))


def subprocesses():
    """The interpreter itself, which args names, by fork and exec."""
    done = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True,
                          check=True)
    assert done.stdout == "42\n", done


def temporary_files():
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
        file.write(os.urandom(1 << 16))
        path = os.path.join(folder, "a.json")
        with open(path, "w", encoding="utf-8") as text:
            json.dump({"a": 1}, text)
        os.chmod(path, 0o600)


def databases():
    with tempfile.TemporaryDirectory() as folder:
        base = sqlite3.connect(os.path.join(folder, "a.db"))
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("CREATE TABLE t (n)")
        base.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(500)])
        base.commit()
        assert base.execute("SELECT sum(n) FROM t").fetchone() == (124750,)
        base.close()


def event_loops():
    async def both():
        await asyncio.gather(*(asyncio.sleep(0.01) for _ in range(100)))
        shell = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
        return await shell.wait()
    assert asyncio.run(both()) == 0


def compute():
    assert re.fullmatch(r"(a|b)*c", "ab" * 500 + "c")
    assert len(hashlib.sha256(zlib.compress(b"x" * (1 << 20))).digest()) == 32
    hashlib.scrypt(b"p", salt=b"s", n=1024, r=8, p=1)


def fetch_from_a_peer():
    with urllib.request.urlopen("http://peer.service.dnode/", timeout=5) as answer:
        assert answer.status == 200


DEEDS = {deed.__name__.replace("_", "-"): deed for deed in (
    ctypes_calls, ctypes_callbacks, tls, thread_pools, processes, subprocesses, temporary_files, databases,
    event_loops, compute, fetch_from_a_peer)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        what = urllib.parse.parse_qs(url.query).get("what", [""])[0]
        status, text = 200, "ok"
        if url.path == "/do":
            status, text = self.do(what)
        elif url.path == "/list":
            text = "\n".join(DEEDS)
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @staticmethod
    def do(what):
        if what not in DEEDS:
            return 404, f"{what}: no such deed"
        try:
            DEEDS[what]()
        except Exception as failure:  # pylint: disable=broad-except
            return 500, f"{what}: {failure!r}"
        return 200, f"did {what}"

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer.request_queue_size = 256
    http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
