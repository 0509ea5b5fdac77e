"""How the plugins fared, for `manage.py doctor`."""

from collections.abc import Iterator

from core.doctor import Finding, Level
from plugins.registry import PLUGINS, Plugins, PluginStatus


def plugin_findings(plugins: Plugins = PLUGINS) -> Iterator[Finding]:
    for state in plugins.states.values():
        if state.status is PluginStatus.FAILED:
            remedy = "Mend or remove the package, or take it out of MAGNET_PLUGINS. The platform goes on without it."
            yield Finding(f"Plugin {state.name}", Level.WARNING, state.reason, remedy)
        else:
            yield Finding(f"Plugin {state.name}", Level.OK, "loaded")
