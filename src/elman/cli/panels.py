"""Help of a command with many options: each stands under the panel that it names."""

from typing import Any

from typer.core import TyperCommand


class Panels(TyperCommand):
    """A command whose help has a part for each panel; Typer itself has panels only where Rich draws frames about them."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options, in the order in which their panels come first."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            told = parameter.get_help_record(ctx)
            if told is not None:
                otherwise = "Arguments" if parameter.param_type_name == "argument" else "Options"
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or otherwise, []).append(told)
        for name, rows in panels.items():
            with formatter.section(name):
                formatter.write_dl(rows)
