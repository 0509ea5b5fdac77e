"""The WSGI application, for plain JSON and the admin beside the ASGI one."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "magnet.settings")
application = get_wsgi_application()
