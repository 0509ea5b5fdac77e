"""Production refuses to start with what is only good for a trial."""

from magnet.settings.base import *
from magnet.settings.checks import refuse_unsafe

SESSION_COOKIE_AGE = 12 * 3600
MIGRATE_AT_START = False
refuse_unsafe(ENV, allowed_hosts=ALLOWED_HOSTS, debug=DEBUG)
