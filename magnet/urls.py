"""Every route. An app brings its own in `<app>/api/urls.py`, mounted at /api/v1/; the panel's in `panel/urls.py`."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from core.api.problems import unknown_route
from core.health import live, ready
from observability.api.metrics import MetricsView
from panel.views import front_door

API = [app for app in settings.OUR_APPS if (settings.BASE_DIR / app / "api" / "urls.py").exists()]

handler400 = "magnet.pages.bad_request"
handler403 = "magnet.pages.permission_denied"
handler404 = "magnet.pages.page_not_found"
handler500 = "magnet.pages.server_error"

urlpatterns: list[URLPattern | URLResolver] = [
    path("health/live", live, name="health-live"),
    path("health/ready", ready, name="health-ready"),
    path("metrics", MetricsView.as_view(), name="metrics"),
    path("admin/", admin.site.urls),
    path("", front_door, name="front-door"),
    path("panel/", include("panel.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    *(path("api/v1/", include(f"{app}.api.urls")) for app in API),
    path("v1/", include("doors.urls")),
    re_path(r"^(?:api|v1)(?:/(?P<path>(?s:.*)))?$", unknown_route),
]
