"""What goes wrong below the platform, said in one line that names the setting."""


class PlatformError(Exception):
    """A part cannot start. The text is one line for a person: the setting, the reason, the way out."""
