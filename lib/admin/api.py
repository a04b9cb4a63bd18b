"""Everything that can be asked for, screen by screen, and the description of it all."""

from __future__ import annotations

from typing import Final

from lib.admin import (
    calls,
    configuration,
    connection,
    document,
    lines,
    logo,
    logs,
    managers,
    module,
    operations,
    overview,
    popup,
    preview,
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
    calls.OPERATIONS,
    logs.OPERATIONS,
    preview.OPERATIONS,
    popup.OPERATIONS,
    operations.OPERATIONS,
    logo.OPERATIONS,
)
_ASKED = [operation for screen in _SCREENS for operation in screen]
OPERATIONS: Final = (*_ASKED, document.served(_ASKED))
