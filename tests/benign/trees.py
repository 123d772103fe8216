# SPDX-License-Identifier: Apache-2.0
"""Root directory trees of images, made of programs of this machine and the libraries they load."""
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
# What of Python's own library no service imports.
UNUSED = ("__pycache__", "test", "tests", "idlelib", "ensurepip", "lib2to3", "pydoc_data", "turtledemo",
          "tkinter", "dist-packages", "site-packages", "config-*")


class Missing(Exception):
    """A program that an image needs is not on this machine."""


class Tree:
    """One root directory, below `folder`, which becomes a recipe's directory."""

    def __init__(self, folder, extra=None):
        self.folder = pathlib.Path(folder)
        self.root = self.folder / "root"
        self.root.mkdir(parents=True)
        # Where packages were unpacked that are not installed here, or None.
        self.extra = pathlib.Path(extra) if extra else None

    def find(self, name):
        """A program by its name: of this machine, or of what was unpacked."""
        path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        if self.extra:
            path += "".join(f":{self.extra}/{d}" for d in ("usr/bin", "usr/sbin"))
        found = shutil.which(name, path=path)
        if not found:
            raise Missing(f"{name} is not here; ./dev benign fetches what it needs")
        return os.path.realpath(found)

    def file(self, source, at, mode=None):
        """A copy, with the mode of the original unless it is said."""
        target = self.root / at.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(mode or os.stat(source).st_mode & 0o777)

    def text(self, at, text, mode=0o644):
        target = self.root / at.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def link(self, at, to):
        target = self.root / at.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(to)

    def program(self, source, at=None):
        self.file(source, at or source, 0o755)
        self.libraries(source)

    def libraries(self, source):
        """What `source` loads, at the paths where its loader looks for it, modes as Debian's."""
        environment = dict(os.environ, LD_LIBRARY_PATH=f"{self.extra}/usr/lib/x86_64-linux-gnu"
                           if self.extra else "")
        told = subprocess.run(["ldd", str(source)], capture_output=True, text=True, check=False,
                              env=environment).stdout
        absent = re.search(r"^\s*(\S+) => not found", told, re.M)
        if absent:
            raise Missing(f"{source} needs {absent[1]}, which is not here")
        for path in re.findall(r"(?:=> |^\s*)(/\S+) \(0x", told, re.M):
            at = path
            if self.extra and path.startswith(str(self.extra)):
                at = path[len(str(self.extra)):]
            if not (self.root / at.lstrip("/")).exists():
                self.file(os.path.realpath(path), at)

    def recipe(self, name, args, env=None):
        words = ", ".join(f'"{a}"' for a in args)
        variables = ", ".join(f'{k}: "{v}"' for k, v in (env or {"LANG": "C.UTF-8"}).items())
        (self.folder / "image.yaml").write_text(
            f"dnode: image/v1\nref: apps/{name}\nroot: root\n"
            f"run: {{args: [{words}], env: {{{variables}}}, user: 1000}}\nports: [8080]\n")
        return self.folder


def deeds(tree, build):
    """tests/benign/deeds: C, linked dynamically against glibc, its helper and its plugin."""
    tree.program(build / "tests/benign/deeds/server", "/bin/server")
    tree.program(build / "tests/benign/deeds/helper", "/bin/helper")
    tree.file(build / "tests/benign/deeds/plugin.so", "/lib/plugin.so", 0o644)
    for name in ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"):
        at = pathlib.Path("/lib/x86_64-linux-gnu", name)
        if at.exists():
            tree.file(at, str(at))
    tree.text("/etc/nsswitch.conf", "hosts: files dns\npasswd: files\n")
    tree.text("/etc/passwd", "deeds:x:1000:1000::/:/bin/false\n")
    tree.text("/etc/services", "http 80/tcp\ndomain 53/udp\n")
    tree.text("/share/server.conf", "reloaded\n")
    tree.text("/share/path/helper/keep", "a directory of that name\n")
    tree.text("/share/plain/helper", "a file that is no program\n")
    return tree.recipe("deeds", ["/bin/server"])


def golang(tree, _):
    compiler = tree.find("go")
    target = tree.root / "bin/server"
    target.parent.mkdir(parents=True)
    environment = dict(os.environ, CGO_ENABLED="0", GOFLAGS="-mod=mod", GO111MODULE="off",
                       GOCACHE=str(tree.folder / "cache"), GOPATH=str(tree.folder / "path"))
    done = subprocess.run([compiler, "build", "-ldflags", "-s -w", "-o", str(target),
                           str(HERE / "go/server.go")], capture_output=True, text=True,
                          env=environment, check=False)
    if done.returncode != 0:
        raise Missing(f"go build: {done.stderr.strip()[-300:]}")
    shutil.rmtree(tree.folder / "cache", ignore_errors=True)
    target.chmod(0o755)
    return tree.recipe("golang", ["/bin/server"])


def nginx(tree, _):
    tree.program(tree.find("nginx"), "/usr/sbin/nginx")
    tree.file(HERE / "nginx/nginx.conf", "/etc/nginx/nginx.conf")
    tree.file(HERE / "nginx/www/index.html", "/www/index.html")
    tree.text("/etc/passwd", "www:x:1000:1000::/:/bin/false\n")
    tree.text("/etc/group", "www:x:1000:\n")
    (tree.root / "var/log/nginx").mkdir(parents=True)
    return tree.recipe("nginx", ["/usr/sbin/nginx", "-e", "stderr", "-c", "/etc/nginx/nginx.conf"])


def python(tree, _):
    interpreter = "/usr/bin/python3"
    if not os.path.exists(interpreter):
        raise Missing("/usr/bin/python3 is not here")
    interpreter = os.path.realpath(interpreter)
    library = subprocess.run(
        [interpreter, "-Ic", "import sysconfig; print(sysconfig.get_paths()['stdlib'])"],
        capture_output=True, text=True, check=True).stdout.strip()
    tree.program(interpreter, "/usr/bin/python3")
    shutil.copytree(library, tree.root / library.lstrip("/"), symlinks=False,
                    ignore=shutil.ignore_patterns(*UNUSED), ignore_dangling_symlinks=True)
    for module in (tree.root / library.lstrip("/")).rglob("*.so"):
        tree.libraries(module)
    tree.file(HERE / "python/server.py", "/srv/server.py")
    subprocess.run([tree.find("openssl"), "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "3650",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", str(tree.folder / "key.pem"), "-out", str(tree.folder / "cert.pem")],
                   check=True, capture_output=True)
    tree.text("/srv/tls.pem", (tree.folder / "key.pem").read_text() +
              (tree.folder / "cert.pem").read_text())
    return tree.recipe("python", ["/usr/bin/python3", "/srv/server.py"],
                       {"PYTHONDONTWRITEBYTECODE": "1"})


def luajit(tree, _):
    tree.program(tree.find("luajit"), "/usr/bin/luajit")
    tree.file(HERE / "jit/server.lua", "/srv/server.lua")
    return tree.recipe("luajit", ["/usr/bin/luajit", "/srv/server.lua"])


def nodejs(tree, _):
    tree.program(tree.find("node"), "/usr/bin/node")
    tree.file(HERE / "node/server.js", "/srv/server.js")
    return tree.recipe("nodejs", ["/usr/bin/node", "/srv/server.js"])


def shell(tree, _):
    tree.program(tree.find("busybox"), "/bin/busybox")
    for name in ("sh", "mktemp", "rm", "tee", "sleep", "date", "grep", "httpd", "cat", "sort",
                 "head", "wc"):
        tree.link(f"/bin/{name}", "busybox")
    tree.file(HERE / "shell/run.sh", "/srv/run.sh", 0o755)
    tree.file(HERE / "shell/www/healthz", "/www/healthz")
    tree.file(HERE / "shell/www/cgi-bin/do", "/www/cgi-bin/do", 0o755)
    return tree.recipe("shell", ["/bin/sh", "/srv/run.sh"], {"PATH": "/bin"})
