"""The settings of the profile that MAGNET_ENV names. A wrong setting ends the process with one line."""

import sys

from magnet import environment as env
from magnet.embedded.errors import PlatformError

try:
    match env.load().choice("MAGNET_ENV", "development", env.PROFILES):
        case "development":
            from magnet.settings.development import *
        case "test":
            from magnet.settings.test import *
        case "staging":
            from magnet.settings.staging import *
        case _:
            from magnet.settings.production import *
except (env.SettingError, PlatformError) as error:
    sys.exit(str(error))
