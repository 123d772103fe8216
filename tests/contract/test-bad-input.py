#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every reading verb of the command and of the agent against every bad input, a test for each pair.

What is owed: exit code 2 (fix the input) or 6 (a limit was reached), lines on standard error that
may go to a terminal, each bounded and few, nothing on standard output, nothing changed on disk,
within seconds and with bounded memory.

    test-bad-input.py DNODE AGENT SANITIZED
"""
import hashlib
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile

SECONDS = 20
LINES, LINE_BYTES = 60, 6000
ADDRESS_SPACE = 1 << 30
RESIDENT_KIB = {"false": 192 << 10, "true": 768 << 10}
MIB = 1 << 20


def levels(count):
    return b"a: " + b"[" * count + b"]" * count


def laughs():
    rows = [b"a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for i in range(1, 20):
        rows.append(b"a%d: &a%d [%s]" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)))
    return b"\n".join(rows)


def number(text):
    return b"format: dnode.manifest/v1\nservice: web\nepoch: " + text + b"\nreplicas: " + text + b"\n"


# Files that are right but for one value, so that it is this value that is refused: its key, and
# how often it stands there. What is refused for something else shows by the line it is told in.
MANIFEST = """dnode: v1
service: web
epoch: {epoch}
image: {{ref: apps/hello, commit: """ + "a" * 64 + """}}
run: {{env: {{A: {env}}}}}
replicas: {replicas}
listen: [{{port: {port}}}]
resources: {{memory: {memory}, cpu: 1, pids: {pids}, files: 64}}
"""
GOOD = {"epoch": "1", "env": "x", "replicas": "1", "port": "8080", "memory": "64MiB", "pids": "8"}
LINE_OF = {"epoch": 3, "env": 5, "replicas": 6, "port": 7, "memory": 8, "pids": 8}
TOO_FAR = ("9223372036854775808", "-1", "1e400", "1.5", "0x10", "18446744073709551616")
VALUES = {
    "epoch": TOO_FAR,
    "replicas": ("2147483648", *TOO_FAR),
    "port": ("65536", "2147483648", *TOO_FAR),
    "pids": ("2147483648", *TOO_FAR),
    "memory": ("9223372036854775808", "-1", "1e400", "9223372036854775807GiB"),
    "env": ('"a\\0b"',),
}
SETTINGS = "{{name: h1, uplink: lo, state_dir: /nowhere, slots: {slots}}}\n"


def one_bad_value():
    """Name, content, verb, where the fault is told, what the line has to name."""
    for key, values in VALUES.items():
        for value in values:
            text = MANIFEST.format(**dict(GOOD, **{key: value}))
            yield f"{key}: {value}", text.encode(), ["manifest", "check", "FILE"], LINE_OF[key]
    whole = MANIFEST.format(**GOOD)
    check = ["manifest", "check", "FILE"]
    yield "replicas twice", (whole + "replicas: 2\n").encode(), check, 9
    yield "a NUL within", whole.replace("A: x", "A: x\0y").encode(), check, 5
    yield "bad UTF-8 within", whole.encode().replace(b"A: x", b"A: \xff\xfe"), check, 5
    for value in ("2147483648", *TOO_FAR):
        yield (f"slots: {value}", SETTINGS.format(slots=value).encode(),
               ["AGENT", "check", "--config", "FILE"], 1)


FILES = {
    "a MiB of random bytes": lambda: random.Random(1).randbytes(MIB),
    "10 MiB of YAML": lambda: b"a: b\n" * (2 * MIB),
    "100,000 levels of brackets": lambda: levels(100_000),
    "100,000 levels of indentation": lambda: b"".join(b" " * i + b"a:\n" for i in range(700)),
    "billion laughs": laughs,
    "duplicate keys": lambda: b"format: 1\nformat: 2\n",
    "a NUL": lambda: b"format: a\0b\n",
    "bad UTF-8": lambda: b"format: \xff\xfe\xc0\x80\n",
    "2 to the 31": lambda: number(b"2147483648"),
    "2 to the 63": lambda: number(b"9223372036854775808"),
    "minus one": lambda: number(b"-1"),
    "1e400": lambda: number(b"1e400"),
    "a million keys": lambda: b"".join(b"k%d: 1\n" % i for i in range(1_000_000)),
    "20,000 keys within the size": lambda: b"".join(b"k%d: 1\n" % i for i in range(20_000)),
    "an escape sequence as a key": lambda: b'"\\e[31mred\\a": 1\n',
    "raw escape bytes": lambda: b"a\x1b[2J: 1\n",
    "an unknown key of 100,000 bytes": lambda: b"k" * 100_000 + b": 1\n",
    "a line of 200,000 blanks": lambda: b" " * 200_000,
    "nothing": lambda: b"",
    "tabs for blanks": lambda: b"dnode: v1\nrun:\n\targs: [/x]\n",
    "a tab between key and value": lambda: b"dnode:\tv1\nservice:\tweb\n",
    "a path of 5,000 bytes within": lambda: b"writable: [{path: /" + b"d/" * 2500 +
        b", size: 1MiB}]\nstate_dir: /" + b"d/" * 2500 + b"\nfiles: [{source: " + b"d/" * 2500 +
        b"x, path: /x}]\n",
    "names like options": lambda: b"service: -rf\nname: --help\nref: -rf\nimage: {ref: -x}\n",
    "a path that climbs": lambda: b"service: ../x\nimage: {ref: ../../x, commit: -rf}\nref: ../x\n",
}

# What is put in place of a name or a path.
WORDS = {
    "a name that climbs": "../x",
    "a name like an option": "-rf",
    "5,000 bytes": "n" * 5000,
    "a path of 5,000 bytes": "/" + "d/" * 2500,
    "control characters": "a\n\r\x07b",
    "escape sequences": "\x1b[2J\x1b]0;x\x07",
    "not UTF-8": b"\xff\xfe\xfd",
    "an empty word": "",
    "a tab": "a\tb",
    "a token cut short": "dnt1.AAAA",
    "a token of 100,000 digits": "dnt1." + "A" * 100_000,
}

FILE_VERBS = {
    "manifest check": ["manifest", "check", "FILE"],
    "manifest show": ["manifest", "show", "FILE"],
    "manifest sign": ["manifest", "sign", "FILE", "--key", "deploy"],
    "apply": ["apply", "FILE", "--key", "deploy"],
    "trust check": ["trust", "check", "FILE"],
    "trust show": ["trust", "show", "FILE"],
    "image build": ["image", "build", "FILE", "--key", "deploy"],
    "key show": ["key", "show", "FILE"],
    "agent": ["AGENT", "--config", "FILE"],
    "agent enrol": ["AGENT", "enrol", "dnt1.AAAA", "--config", "FILE"],
}

# The same of dnode itself, and what else takes the name of a file.
ABSENT_VERBS = {
    **{verb: words for verb, words in FILE_VERBS.items() if words[0] != "AGENT"},
    "a key's name": ["key", "show", "nobody"],
    "--key": ["image", "build", "agent.yaml", "--key", "nobody"],
    "--key of a file": ["image", "build", "agent.yaml", "--key", "FILE"],
    "image show": ["image", "show", "apps/hello"],
    "image verify": ["image", "verify", "apps/hello", "--repo", "FILE"],
    "image push": ["image", "push", "apps/hello", "--repo", "FILE"],
    "image ls": ["image", "ls", "--repo", "FILE"],
    "journal show": ["journal", "show", "FILE"],
    "journal verify": ["journal", "verify", "FILE"],
}

# A place where nothing listens: no exit code but 2 would do for a word that is no name, and 5
# says that the word was harmless enough to be asked about.
WORD_VERBS = {
    "key gen": ["key", "gen", "WORD"],
    "key show": ["key", "show", "WORD"],
    "manifest check": ["manifest", "check", "WORD"],
    "apply": ["apply", "WORD", "--key", "deploy"],
    "image build": ["image", "build", "WORD"],
    "image show": ["image", "show", "WORD"],
    "node ls": ["node", "ls", "WORD"],
    "logs": ["logs", "WORD"],
    "audit": ["audit", "WORD"],
    "host token": ["host", "token", "WORD"],
    "quarantine": ["quarantine", "WORD", "--reason", "x"],
    "incident show": ["incident", "show", "WORD"],
    "incident destroy": ["incident", "destroy", "WORD", "--key", "deploy", "--reason", "x"],
    "drill": ["drill", "exec", "WORD"],
    "roll": ["roll", "WORD", "--image", "WORD"],
    "scale": ["scale", "WORD", "2"],
    "agent enrol": ["AGENT", "enrol", "WORD", "--config", "CONFIG"],
    "agent's configuration": ["AGENT", "check", "--config", "WORD"],
}


class Bench:
    """A cluster's directory with a key, and the command in it."""

    def __init__(self, dnode, agent, sanitized):
        self.dnode, self.agent, self.sanitized = dnode, agent, sanitized
        self.folder = tempfile.TemporaryDirectory(prefix=f"dnt{os.getpid()}-")
        self.home = pathlib.Path(self.folder.name) / "home"
        self.file = pathlib.Path(self.folder.name) / "input.yaml"
        self.config = pathlib.Path(self.folder.name) / "agent.yaml"
        self.config.write_text(f"{{name: h1, uplink: lo, state_dir: {self.folder.name}/agent}}\n")
        self.home.mkdir()
        for words in (["cluster", "init"], ["key", "gen", "deploy", "--role", "deploy"]):
            code, _, wrong = self.call(words)
            assert code == 0, wrong

    def limit(self):
        # Sanitizers reserve terabytes of addresses; the resident size is measured instead.
        if self.sanitized == "false":
            resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))

    def call(self, words):
        nowhere = f"unix:{self.folder.name}/nobody.sock"
        if words[0] == "AGENT":
            command = [self.agent, *words[1:]]
        else:
            command = [self.dnode, *words, "--home", self.home, "--supervisor", nowhere]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=self.limit, cwd=self.folder.name)
        try:
            said, wrong = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise AssertionError(f"not done within {SECONDS} s") from None
        return process.returncode, said, wrong

    def everything(self):
        found = {}
        for path in sorted(pathlib.Path(self.folder.name).rglob("*")):
            size = path.stat().st_size if path.is_file() else 0
            data = path.read_bytes() if 0 < size < 64 * MIB else b"%d" % size
            found[str(path)] = hashlib.sha256(data).hexdigest()
        return found


def judge(bench, words, codes):
    before = bench.everything()
    code, said, wrong = bench.call(words)
    text = wrong.decode()  # fails when it is not UTF-8
    lines = text.splitlines()
    assert code in codes, f"exit code {code}: {text[:300]}"
    assert said == b"", f"standard output: {said[:300]}"
    assert text.endswith("\n") and 1 <= len(lines) <= LINES, f"{len(lines)} lines: {text[:300]}"
    for line in lines:
        assert len(line.encode()) <= LINE_BYTES, f"a line of {len(line)}: {line[:300]}"
        # A tab may stand in a quoted word; nothing else that moves a terminal.
        bad = [c for c in line if not c.isprintable() and c != "\t"]
        assert not bad, f"not printable: {bad[:5]!r} in {line[:300]!r}"
    assert bench.everything() == before, "something was changed"
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak <= RESIDENT_KIB[bench.sanitized], f"{peak} KiB resident"


def judge_one(bench, words, line):
    """One fault at its place, and nothing else found fault with."""
    judge(bench, words, (2,))
    _, _, wrong = bench.call(words)
    faults = [text for text in wrong.decode().splitlines() if str(bench.file) in text]
    assert len(faults) == 1, wrong
    assert f"{bench.file}:{line}:" in faults[0], wrong


def cases(bench):
    for name, data, words, line in one_bad_value():
        def try_value(data=data, words=words, line=line):
            bench.file.write_bytes(data)
            judge_one(bench, [bench.file if w == "FILE" else w for w in words], line)
        yield f"one bad value: {name}", try_value
    good = MANIFEST.format(**GOOD)

    def try_good():
        bench.file.write_text(good)
        code, _, wrong = bench.call(["manifest", "check", bench.file])
        assert code == 0, wrong
    yield "no bad value: taken", try_good
    for row, make in FILES.items():
        data = make()
        for verb, words in FILE_VERBS.items():
            def try_file(data=data, words=words):
                bench.file.write_bytes(data)
                judge(bench, [bench.file if w == "FILE" else w for w in words], (2, 6))
            yield f"{verb}: {row}", try_file
    for row, word in WORDS.items():
        for verb, words in WORD_VERBS.items():
            def try_word(word=word, words=words):
                bench.file.unlink(missing_ok=True)
                put = {"WORD": word, "CONFIG": bench.config}
                judge(bench, [put.get(w, w) for w in words],
                      (1, 2, 5) if words[0] == "AGENT" else (2, 5))
            yield f"{verb}: {row}", try_word
    for verb, words in ABSENT_VERBS.items():
        def try_absent(words=words):
            absent = f"{bench.folder.name}/absent"
            judge(bench, [absent if w == "FILE" else w for w in words], (2,))
        yield f"{verb}: a file that is not there", try_absent
    for verb, words in FILE_VERBS.items():
        def try_sparse(words=words):
            # No byte of it is there, and none may be read past the limit.
            with open(bench.file, "wb") as file:
                file.truncate(1 << 30)
            try:
                judge(bench, [bench.file if w == "FILE" else w for w in words], (2, 6))
            finally:
                bench.file.unlink()
        yield f"{verb}: a GiB", try_sparse


def main(dnode, agent, sanitized):
    bench = Bench(dnode, agent, sanitized)
    failed = 0
    number = 0
    for number, (name, test) in enumerate(cases(bench), 1):
        try:
            test()
            print(f"ok {number} - {name}", flush=True)
        except (AssertionError, UnicodeDecodeError) as why:
            failed += 1
            print(f"# {why}\nnot ok {number} - {name}", flush=True)
    print(f"1..{number}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
