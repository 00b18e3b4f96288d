"""The process that drives qemu-system-arm: `python -m edgekit.toolchain.qemu_worker QEMU ELF TIMEOUT_S`, see wire.py.

qemu boots the firmware from reset to `ek_stop`. From then on every request is answered through qemu's debugger stub:
memory and registers are set, the core runs until it is back at `ek_stop`, and they are read. The firmware needs no
code for that, and gets nothing of this computer: no semihosting, no network, no serial port, and qemu in a sandbox.
Source of the protocol: the GDB manual, appendix E. Counting reads qemu's own log of every instruction it executes.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from edgekit.toolchain import wire
from edgekit.toolchain.elf import Image, load_image, thumb_size

PACKET = 1900  # bytes of memory in one packet: qemu takes 4096 characters, two a byte
PR_SET_PDEATHSIG, F_SETPIPE_SZ = 1, 1031  # linux/prctl.h, linux/fcntl.h
LOG_BYTES = 1 << 20  # of the log that qemu writes ahead of its being read
R0, SP, LR, PC = 0, 13, 14, 15
REGISTER_ARGUMENTS = 4
REPORT_WORDS = 7  # ek_report of targets/cortex-m/startup.c: stopped, pc, lr, CFSR, BFAR, SFSR, SFAR
FAULT = 2
STACK_BYTES = 1 << 16  # painted below the stack pointer
# qemu's names of "one instruction in a translated block", which its log then has a line for; the second is newer
SINGLE = ("singlestep", "one-insn-per-tb")


class QemuError(Exception):
    """qemu is not there any more, or says no."""


class Qemu:
    """One board, its core stopped between requests."""

    def __init__(self, qemu: str, machine: str, elf: str) -> None:
        self.image: Image = load_image(Path(elf).read_bytes())
        self.stop = self.image.function("ek_stop").address
        self.report, self.stack_top = (self.image.data[name] for name in ("ek_report", "ek_stack_top"))
        self.watched = (0, 0)
        self.top = self.stack_top
        log, log_end = os.pipe()
        os.set_blocking(log, False)
        with suppress(PermissionError):  # it is but slower when the system has no room for a larger pipe
            fcntl.fcntl(log_end, F_SETPIPE_SZ, LOG_BYTES)
        self.log, self.errors = log, tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as this process)
        command = [qemu, "-machine", machine, "-nodefaults", "-display", "none", "-nic", "none", "-monitor", "none"]
        command += ["-serial", "none", "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny"]
        command += ["-S", "-gdb", "stdio", "-D", f"/dev/fd/{log_end}", "-kernel", elf]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            pass_fds=(log_end,),
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (this process has one thread)
        )
        if self.process.stdin is None or self.process.stdout is None:
            raise QemuError("qemu has no pipes")
        self.to, self.source = self.process.stdin, self.process.stdout.fileno()
        self.pending = b""

    # --- the debugger's protocol

    def ask(self, command: str) -> str:
        """Send one packet and return the answer to it."""
        raw = command.encode()
        try:
            self.to.write(b"$%s#%02x" % (raw, sum(raw) % 256))
            self.to.flush()
        except BrokenPipeError as error:
            raise QemuError(self.last_words()) from error
        return self.packet()

    def packet(self) -> str:
        """Receive one packet, and read the log while there is none."""
        while True:
            found = re.search(rb"\$([^#]*)#..", self.pending, re.DOTALL)
            if found:
                self.pending = self.pending[found.end() :]
                self.to.write(b"+")
                self.to.flush()
                return found.group(1).decode("ascii")
            ready, _, _ = select.select([self.source, self.log, sys.stdin.fileno()], [], [])
            if sys.stdin.fileno() in ready:
                sys.exit()  # between a request and its reply, only the end of the caller makes this readable
            if self.log in ready:
                self.read_log()
            if self.source in ready:
                part = os.read(self.source, 1 << 16)
                if not part:
                    raise QemuError(self.last_words())
                self.pending += part

    def last_words(self) -> str:
        """What qemu said before it ended."""
        self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read(1 << 16).decode("utf-8", "replace").splitlines()
        fatal = [line for line in lines if "fatal" in line] or lines[:1] or ["without a word"]
        return f"qemu ended: {fatal[0]}"

    def expect_ok(self, command: str) -> None:
        """Send a packet whose answer must be OK."""
        if (answer := self.ask(command)) != "OK":
            raise QemuError(f"qemu refuses {command.partition(',')[0]!r}: {answer or 'not supported'}")

    def monitor(self, line: str) -> str:
        """Give a command to qemu's monitor and return what it prints."""
        said, answer = b"", self.ask(f"qRcmd,{line.encode().hex()}")
        while answer.startswith("O") and answer != "OK":
            said, answer = said + bytes.fromhex(answer[1:]), self.packet()
        return said.decode("utf-8", "replace").strip()

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into memory."""
        for at in range(0, len(data), PACKET):
            part = data[at : at + PACKET]
            self.expect_ok(f"M{address + at:x},{len(part):x}:{part.hex()}")

    def read(self, address: int, nbytes: int) -> bytes:
        """Get bytes of memory."""
        out = b""
        for at in range(0, nbytes, PACKET):
            answer = self.ask(f"m{address + at:x},{min(PACKET, nbytes - at):x}")
            if answer.startswith("E"):
                raise QemuError(f"there is no memory at {address + at:#x}")
            out += bytes.fromhex(answer)
        return out

    # --- the core

    def boot(self) -> None:
        """Run from reset through start-up code and main to the place where everything stops."""
        self.expect_ok(f"Z0,{self.stop:x},2")
        self.resume()

    def resume(self) -> None:
        """Let the core run until it stops."""
        if not (answer := self.ask("c")).startswith(("T05", "S05")):
            raise QemuError(f"the core stopped for another reason than its end: {answer}")

    def fault(self) -> bytes | None:
        """What the fault handler wrote down, as a row of wire.py; None when there was no fault."""
        words = [int.from_bytes(self.read(self.report, 4 * REPORT_WORDS)[4 * i :][:4], "little") for i in range(7)]
        stopped, counter, _, status, address, secure, secure_address = words
        if stopped != FAULT:
            return None
        if secure and not status:
            status, address = 1 << 9, secure_address
        kind = next((name for mask, name in FAULT_KINDS if status & mask), "instruction")
        bad = counter if kind == "execution" else address
        return wire.FAULT_ROW.pack(counter, bad, wire.FAULTS.index(kind))

    def call(self, address: int, arguments: list[int], *, count: bool) -> tuple[int, int, bytes]:
        """Run a function to its return; (status, value, payload) as wire.py has it."""
        words = [value % 2**32 for value in arguments] + [0] * (wire.MAX_ARGUMENTS - len(arguments))
        on_stack = b"".join(value.to_bytes(4, "little") for value in words[REGISTER_ARGUMENTS:])
        self.top = self.stack_top - len(on_stack)
        self.write(self.top, on_stack)
        registers = [*words[:REGISTER_ARGUMENTS], *[0] * 9, self.top, self.stop | 1, address]
        self.expect_ok("G" + b"".join(value.to_bytes(4, "little") for value in registers).hex())
        self.counts, self.known = dict[tuple[int, int], int](), dict[bytes, tuple[int, int]]()
        self.site, self.key, self.line = 0, (0, 0), b""
        if count:
            self.trace(True)
        self.resume()
        if count:
            self.read_log()
            self.trace(False)
        if (row := self.fault()) is not None:
            return wire.FAULT, 0, row
        after = bytes.fromhex(self.ask("g")[: 8 * (PC + 1)])
        if int.from_bytes(after[4 * PC :], "little") != self.stop:
            raise QemuError("the core stopped before the function returned")
        rows = [wire.ROW.pack(site, at, self.size_of(at), n) for (site, at), n in self.counts.items() if n]
        return wire.OK, int.from_bytes(after[: 4 * (R0 + 1)], "little"), b"".join(rows)

    # --- counting

    def trace(self, on: bool) -> None:
        """Start or stop the log of every instruction."""
        words = [self.monitor(f"{name} {'on' if on else 'off'}") for name in SINGLE]
        said = self.monitor("log exec,nochain" if on else "log none")
        if all("unknown command" in text for text in words) or said:
            raise QemuError(f"qemu cannot log single instructions: {said or words[0]}")

    def read_log(self) -> None:
        """Take what there is of the log: a line for each instruction, and one for each that was begun but not run."""
        while True:
            try:
                part = os.read(self.log, 1 << 20)
            except BlockingIOError:
                return
            lines = (self.line + part).split(b"\n")
            self.line = lines.pop()
            counts, known, site, key = self.counts, self.known, self.site, self.key
            for line in lines:  # a million of them are common: the same instruction has the same line, read once
                instruction = known.get(line)
                if instruction is None:
                    if line.startswith(b"Stopped"):
                        counts[key] -= 1
                    if not line.startswith(b"Trace"):
                        continue
                    instruction = known[line] = self.instruction(line)
                address, after = instruction
                key = (0 if after else site, address)
                site = after or site
                counts[key] = counts.get(key, 0) + 1
            self.site, self.key = site, key

    def instruction(self, line: bytes) -> tuple[int, int]:
        """The address of an instruction, and in the watched function the address after it, else 0."""
        address = int(line.split(b"/", 2)[1], 16)
        low, high = self.watched
        return address, address + self.size_of(address) if low <= address < high else 0

    def size_of(self, address: int) -> int:
        """The bytes of the instruction at an address."""
        return thumb_size(self.image.code_at(address, 2)[1])

    # --- the stack

    def paint_stack(self) -> None:
        """Make every byte of the stack one that a call is unlikely to leave there."""
        size = self.stack_bytes()
        self.write(self.stack_top - size, bytes([wire.PAINT]) * size)

    def used_stack(self) -> int:
        """Bytes between the stack pointer of the last call and the lowest byte that is painted no more."""
        size = self.stack_bytes()
        stack = self.read(self.stack_top - size, self.top - (self.stack_top - size))
        return len(stack.lstrip(bytes([wire.PAINT])))

    def stack_bytes(self) -> int:
        """How much of the stack is painted: all of it, but no more than anyone needs."""
        return min(self.stack_top - self.image.data["ek_stack_bottom"], STACK_BYTES)


# bits of the status register (CFSR) and what they mean for a caller; the first that fits counts
FAULT_KINDS = (
    (1 << 20, "stack"),  # STKOF
    (1 << 0 | 1 << 8, "execution"),  # IACCVIOL, IBUSERR
    (1 << 1 | 1 << 9 | 1 << 10, "access"),  # DACCVIOL, PRECISERR, IMPRECISERR
    (1 << 24, "alignment"),  # UNALIGNED
)


def _die_with_parent() -> None:
    """In the new process, before it becomes qemu: it must not outlive this one, however this one ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def serve(qemu: Qemu, requests: BinaryIO, replies: BinaryIO, timeout_s: float) -> None:
    """Answer requests until there are no more. All memory of a board is there: MAP and PROTECT ask for nothing."""
    while header := exactly(requests, wire.REQUEST.size):
        op, a, b, c = wire.REQUEST.unpack(header)
        payload = exactly(requests, {wire.WRITE: b, wire.CALL: 8 * b}.get(op, 0))
        # The alarm ends this process, and qemu with it.
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        reply: tuple[int, int, bytes] = (wire.OK, 0, b"")
        if op == wire.CALL:
            reply = qemu.call(a, [word for (word,) in wire.WORD.iter_unpack(payload)], count=bool(c))
        elif op == wire.READ:
            reply = wire.OK, 0, qemu.read(a, b)
        elif op == wire.WRITE:
            qemu.write(a, payload)
        elif op == wire.WATCH:
            qemu.watched = (a, b)
        elif op == wire.STACK and a:
            qemu.paint_stack()
        elif op == wire.STACK:
            reply = wire.OK, qemu.used_stack(), b""
        signal.setitimer(signal.ITIMER_REAL, 0)
        answer(replies, *reply)


def exactly(requests: BinaryIO, nbytes: int) -> bytes:
    """Receive so many bytes, or none when the caller has gone; nothing is read ahead, so that `select` sees all."""
    out = b""
    while len(out) < nbytes:
        part = requests.read(nbytes - len(out))
        if not part:
            return b""
        out += part
    return out


def answer(replies: BinaryIO, status: int, value: int = 0, payload: bytes = b"") -> None:
    """Send one reply."""
    replies.write(wire.REPLY.pack(status, value, len(payload)) + payload)
    replies.flush()


def main() -> None:
    """Boot, then serve."""
    program, machine, elf, timeout_s = sys.argv[1:]
    requests = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
    replies = sys.stdout.buffer
    signal.setitimer(signal.ITIMER_REAL, float(timeout_s))
    try:
        qemu = Qemu(program, machine, elf)
        qemu.boot()
        if (row := qemu.fault()) is not None:
            answer(replies, wire.FAULT, 0, row)
            return
        version = (re.match(r"[\d.]+", qemu.monitor("info version")) or ["unknown"])[0]
        signal.setitimer(signal.ITIMER_REAL, 0)
        answer(replies, wire.OK, payload=f"qemu-system-arm {version} {machine}".encode())
        serve(qemu, requests, replies, float(timeout_s))
    except QemuError as error:
        answer(replies, wire.REFUSED, payload=str(error).encode())


if __name__ == "__main__":
    main()
