"""The errors of the emulator."""

from __future__ import annotations

from typing import Literal

Code = Literal["NOT_FOUND", "ALREADY_EXISTS", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNIMPLEMENTED", "UNAVAILABLE"]


class EmulatorError(Exception):
    """Its text is one sentence for a person."""


class CannotStart(EmulatorError):
    pass


class Refusal(EmulatorError):
    """The answer to a request: a gRPC status by name and a sentence."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def not_found(name: str) -> Refusal:
    return Refusal("NOT_FOUND", f"Resource not found (resource={name}).")


def already_exists(name: str) -> Refusal:
    return Refusal("ALREADY_EXISTS", f"Resource already exists in the project (resource={name}).")


def invalid(message: str) -> Refusal:
    return Refusal("INVALID_ARGUMENT", message)
