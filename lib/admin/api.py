"""All operations of the API, screen by screen, and their description."""

from __future__ import annotations

from typing import Final

from lib.admin import document
from lib.admin.screens import (
    alive,
    callbacks,
    calls,
    configuration,
    connection,
    for_operator,
    host,
    lines,
    logo,
    logs,
    managers,
    module,
    overview,
    popup,
    preview,
    report,
    sign_in,
)

_SCREENS: Final = (
    sign_in.OPERATIONS,
    configuration.OPERATIONS,
    connection.OPERATIONS,
    managers.OPERATIONS,
    lines.OPERATIONS,
    module.OPERATIONS,
    overview.OPERATIONS,
    host.OPERATIONS,
    calls.OPERATIONS,
    callbacks.OPERATIONS,
    report.OPERATIONS,
    logs.OPERATIONS,
    preview.OPERATIONS,
    popup.OPERATIONS,
    for_operator.OPERATIONS,
    logo.OPERATIONS,
    alive.OPERATIONS,
)
_ASKED = [operation for screen in _SCREENS for operation in screen]
OPERATIONS: Final = (*_ASKED, document.served(_ASKED))
