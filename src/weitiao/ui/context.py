"""What every page works with."""

from __future__ import annotations

from dataclasses import dataclass

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
        aside: Does what needs PyTorch, in a process of its own.
        token: Who may use the pages.
        servers: Of models, that the pages started.
    """

    workspace: Workspace
    pages: Pages
    aside: Aside
    token: Token
    servers: Servers
