"""The bytes between edgekit and a machine that runs a library for it (unicorn_worker.py, runner/runner.c).

    request   op, a, b, c                four uint64, little endian, then a payload where the op has one
    reply     status, value, length      three uint64, then `length` bytes

    MAP      a = address, b = size       readable and writable zeros
    PROTECT  a = address, b = size, c = access (elf.READ | WRITE | EXECUTE)
    WRITE    a = address, b = size       payload: the bytes
    READ     a = address, b = size       reply payload: the bytes
    CALL     a = address, b = number of arguments, c = 1 to count instructions    payload: the arguments, uint64 each
             (a machine of 32 bits takes the low half)
             value = the result register; payload, when counting: rows of (site, address, size, executions)
    WATCH    a = first address, b = end  rows of CALL name the call of this function that they ran for: `site` is the
             address of the instruction after it, 0 where there was none
    STACK    a = 1: paint the stack; a = 0: value = bytes of it that the last CALL changed, its arguments left out

The first message is a reply without a request: what the machine is, as text.
"""

from __future__ import annotations

import struct

REQUEST = struct.Struct("<4Q")
REPLY = struct.Struct("<3Q")
WORD = struct.Struct("<Q")
ROW = struct.Struct("<4Q")
FAULT_ROW = struct.Struct("<3Q")  # program counter, address, index in FAULTS

MAP, PROTECT, WRITE, READ, CALL, WATCH, STACK = range(1, 8)
OK, REFUSED, FAULT = range(3)  # REFUSED carries a text, FAULT one FAULT_ROW

FAULTS = ("read", "write", "execution", "instruction", "access", "stack", "alignment")  # access: a read or a write
PAINT = 0xA5  # every byte of a stack that nothing has used yet
MAX_ARGUMENTS = 16  # those of a program with 14 inputs and outputs
