"""`.. commands::`: the commands of `tito`, from the program itself."""

from collections.abc import Iterator
from typing import Any

from docstrings import prose
from docutils import nodes
from docutils.parsers.rst import Directive
from public import parsed
from sphinx.application import Sphinx


class Commands(Directive):
    def run(self) -> list[nodes.Node]:
        import typer.main

        from tinytorch.tito.cli import app

        return parsed(self, list(described("tito", typer.main.get_command(app))))


def described(name: str, command: Any) -> Iterator[str]:
    """A command, or those of a group, in reST."""
    if hasattr(command, "commands"):
        for own_name, own in command.commands.items():
            yield from described(f"{name} {own_name}", own)
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([name, *(a.metavar or a.name.upper() for a in arguments)])
    yield from ["", f".. describe:: {usage}", ""]
    for line in (command.help or "").replace("\b", "").splitlines():
        yield f"   {prose(line)}"
    for parameter in command.params:
        text = " ".join((getattr(parameter, "help", None) or "").split())
        if text and not getattr(parameter, "hidden", False):
            names = ", ".join(parameter.opts) if parameter not in arguments else parameter.name
            yield from ["", f"   ``{names}``", f"      {prose(text)}"]
    yield ""


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
