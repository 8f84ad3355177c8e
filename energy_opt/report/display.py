"""How an estimate or a cross-check shows itself: rich in a terminal, HTML in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import RenderableType


class Analysis(Protocol):
    """Anything that can say what it found, such as an Estimate."""

    def to_dict(self) -> dict[str, Any]:
        """The dict of interface `energy-opt/analysis/1`, or `energy-opt/cross-check/1`."""
        ...


def attach(kind: type[Analysis]) -> None:
    """Give a class `__rich__` and `_repr_html_`, made from its `to_dict`.

    Estimates live below reports and must not import them; so whoever hands the class to a user attaches the reports to
    it. Nothing is rendered, and no renderer imported, before something is shown. Attaching twice changes nothing.
    """
    # setattr, since a Protocol that listed these would make every other class have them.
    setattr(kind, "__rich__", _rich)  # noqa: B010
    setattr(kind, "_repr_html_", _html)  # noqa: B010


def attach_check(kind: type[Analysis]) -> None:
    """The same for a class whose `to_dict` is a cross-check."""
    setattr(kind, "__rich__", _rich_check)  # noqa: B010
    setattr(kind, "_repr_html_", _html_check)  # noqa: B010


def _rich(self: Analysis) -> RenderableType:
    from energy_opt.report import console

    return console.render(self.to_dict())


def _html(self: Analysis) -> str:
    from energy_opt.report import html

    return html.render(self.to_dict(), full=False)


def _rich_check(self: Analysis) -> RenderableType:
    from energy_opt.report import crosscheck

    return crosscheck.render(self.to_dict())


def _html_check(self: Analysis) -> str:
    from energy_opt.report import crosscheck, html

    return html.fragment(crosscheck.page(self.to_dict()))
