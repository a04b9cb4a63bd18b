"""
Runs a program that refuses to run as root: `python -I -S unprivileged.py USER PROGRAM ARGUMENT…`.

The program becomes USER but keeps the right to pass through root's closed folders: a clone under /root or in a fresh
`mktemp -d` works, without wider permissions for anybody else.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys

_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def main(user: str, *argv: str) -> None:
    entry = pwd.getpwnam(user)
    keeps = _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    if keeps:
        _keep(_CAP_DAC_OVERRIDE)
    os.execv(argv[0], argv)  # noqa: S606  (the one purpose of this file)


def _keep(capability: int) -> None:
    """
    Drops every capability but this one, and hands it on to the program.

    Where a sandbox refuses, the program does without: it fails by itself if a folder is really closed to it.
    """
    only = 1 << capability
    sets = (_Data * 2)(_Data(only, only, only), _Data(0, 0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), sets) == 0:
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *arguments: int) -> bool:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return bool(ctypes.CDLL(None, use_errno=True).prctl(option, *map(ctypes.c_ulong, padded)) == 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
