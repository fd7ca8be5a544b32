"""What every page works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event

from weitiao.ui.access import Token
from weitiao.ui.aside import Aside
from weitiao.ui.servers import Servers
from weitiao.ui.templating import Pages
from weitiao.ui.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Ui:
    """The parts that pages share.

    Attributes:
        workspace: What is shown.
        pages: Makes pages of templates.
        aside: Does what needs PyTorch, or is long, in a process of its own.
        soon: The same for what is short and waited for while one types: a check of much data does not hold it up.
        token: Who may use the pages.
        servers: Of models, that the pages started.
        ending: Set when the page server is told to end: what would be sent for ever ends then.
    """

    workspace: Workspace
    pages: Pages
    aside: Aside
    soon: Aside
    token: Token
    servers: Servers
    ending: Event = field(default_factory=Event)

    def close(self) -> None:
        """End the processes beside."""
        self.aside.close()
        self.soon.close()
