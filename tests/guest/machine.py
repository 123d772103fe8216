# SPDX-License-Identifier: Apache-2.0
"""One emulated machine: booted, told commands through a port of its own, put out."""
import base64
import os
import socket
import subprocess
import time

from image import Failed

MEMORY_MIB = 1536
PROCESSORS = 2
BOOT_SECONDS = 300
# Every time limit is multiplied by it: an emulated machine on a busy one has a hard life.
PATIENCE = float(os.environ.get("DNODE_GUEST_PATIENCE", "2"))


def command_line(base, disk, payload, extra=""):
    """QEMU without acceleration: slow, but the same on every machine."""
    kernel = ("root=/dev/vda rw console=ttyS0 mitigations=off no_timer_check net.ifnames=0 "
              f"random.trust_cpu=on panic=-1 {extra}")
    return ["qemu-system-x86_64", "-M", "q35,usb=off,vmport=off", "-accel", "tcg,thread=multi",
            "-cpu", "max", "-smp", str(PROCESSORS), "-m", str(MEMORY_MIB), "-nodefaults",
            "-no-user-config", "-display", "none", "-nic", "none",
            "-kernel", base / "vmlinuz", "-initrd", base / "initrd", "-append", kernel,
            "-drive", f"file={disk},format=raw,if=virtio,cache=unsafe",
            "-drive", f"file={payload},format=raw,if=virtio,readonly=on",
            "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]


class Machine:
    """A guest of its own disk; what was said to it and what it answered goes to the transcript."""

    def __init__(self, base, work, payload, transcript):
        self.base, self.work, self.payload = base, work, payload
        self.transcript = transcript
        self.began = time.monotonic()
        self.process = self.port = None
        self.unread = b""
        self.disk = work / "disk.ext4"
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", base / "disk.ext4", self.disk],
                       check=True)

    def note(self, text):
        at = time.monotonic() - self.began
        for line in text.splitlines() or [""]:
            self.transcript.write(f"{at:7.1f}  {line}\n")
        self.transcript.flush()

    def power_on(self):
        """Boot; returns the seconds until the guest answered."""
        start = time.monotonic()
        ours, theirs = socket.socketpair()
        command = command_line(self.base, self.disk, self.payload)
        command += ["-chardev", f"socket,id=control,fd={theirs.fileno()}",
                    "-device", "virtserialport,chardev=control,name=dnode.control",
                    "-serial", f"file:{self.work / 'console.txt'}"]
        with open(self.work / "qemu.log", "ab") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, pass_fds=[theirs.fileno()])
        theirs.close()
        self.port = ours
        self.wait_booted()
        return time.monotonic() - start

    def reboot(self):
        """As an administrator would; returns the seconds until the guest answers again."""
        start = time.monotonic()
        self.note("# systemctl reboot")
        self.port.sendall(base64.b64encode(b"systemctl --no-block reboot") + b"\n")
        while not self.line(BOOT_SECONDS).endswith("ready"):
            pass
        return time.monotonic() - start

    def power_off(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.port is not None:
            self.port.close()
        self.process = self.port = None
        self.unread = b""

    def line(self, seconds):
        seconds *= PATIENCE
        end = time.monotonic() + seconds
        while b"\n" not in self.unread:
            left = end - time.monotonic()
            if left <= 0:
                raise Failed(f"the guest said nothing for {seconds:.0f} s")
            self.port.settimeout(left)
            try:
                got = self.port.recv(65536)
            except TimeoutError:
                continue
            if not got:
                raise Failed(f"QEMU has ended, see {self.work}/qemu.log and console.txt")
            self.unread += got
        line, _, self.unread = self.unread.partition(b"\n")
        return line.decode(errors="replace").strip("\0\r ")

    def wait_booted(self, seconds=BOOT_SECONDS):
        if not self.line(seconds).endswith("ready"):
            raise Failed("the guest's first word is not the one that was agreed on")

    def tell(self, script, seconds=120):
        """Run @script in the guest: (status, output)."""
        self.port.sendall(base64.b64encode(script.encode()) + b"\n")
        status, _, output = self.line(seconds).partition(" ")
        return int(status), base64.b64decode(output).decode(errors="replace")

    def run(self, script, seconds=120, check=True, quiet=False):
        """The same, on record; fails when the command does, unless @check is false."""
        if not quiet:
            self.note("# " + "\n> ".join(script.strip().splitlines()))
        status, output = self.tell(script, seconds)
        if not quiet:
            self.note(output.rstrip("\n"))
        if check and status != 0:
            raise Failed(f"in the guest: {script}: status {status}:\n{output[-3000:]}")
        return output

    def until(self, what, script, seconds=120, every=0.5):
        """Ask again until @script succeeds."""
        end = time.monotonic() + seconds * PATIENCE
        self.note(f"# until {script}")
        while True:
            status, output = self.tell(script, seconds)
            if status == 0:
                self.note(output.rstrip("\n"))
                return output
            if time.monotonic() > end:
                self.note(output.rstrip("\n"))
                raise Failed(f"{what}: not within {seconds} s; at last: {output[-2000:]}")
            time.sleep(every)
