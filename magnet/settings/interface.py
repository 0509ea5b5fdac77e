"""How the pages look, and what a browser may do on them."""

from typing import Any

from csp.constants import NONCE, NONE, SELF
from django.templatetags.static import static
from django.utils.translation import gettext_lazy as _

# The strict policy of every page. `magnet.csp` loosens it for /admin/ (ADR 0003) and /api/docs/.
CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# Widgets of our own draw themselves with templates from templates/.
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

LOGIN_URL = "panel:login"
LOGIN_REDIRECT_URL = "front-door"

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Magnet",
    "SITE_HEADER": "Magnet",
    "SITE_URL": "/panel/",
    "SITE_ICON": lambda _request: static("panel/magnet.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("panel/magnet.svg")}],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "8px",
    "STYLES": [lambda _request: static("magnet/admin.css")],
    "SCRIPTS": [lambda _request: static("magnet/admin.js")],
    "DASHBOARD_CALLBACK": "magnet.overview.overview",
    "COLORS": {
        "primary": {
            "50": "oklch(97.7% .013 236.62)",
            "100": "oklch(95.1% .026 236.824)",
            "200": "oklch(90.1% .058 230.902)",
            "300": "oklch(82.8% .111 230.318)",
            "400": "oklch(74.6% .14 232.661)",
            "500": "oklch(62% .145 237.323)",
            "600": "oklch(53% .135 241.966)",
            "700": "oklch(47% .12 242.749)",
            "800": "oklch(42% .105 240.79)",
            "900": "oklch(37% .085 240.876)",
            "950": "oklch(29.3% .066 243.157)",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "command_search": False,
        "show_all_applications": False,
        "navigation": "magnet.navigation.sidebar",
    },
    "ACCOUNT": {
        "navigation": [
            {"title": _("Panel"), "link": "/panel/"},
            {"title": _("API documentation"), "link": "/api/docs/"},
            {"title": _("Change password"), "link": "/admin/password_change/"},
        ],
    },
}
