"""The admin site: members enter by their role in a workspace, and look at one workspace at a time."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST
from unfold.sites import UnfoldAdminSite

from accounts.current_workspace import choose_workspace, current_membership, current_principal, memberships_in
from core.access import Principal, Role


class MagnetAdminSite(UnfoldAdminSite):
    """Rights come from memberships, not from is_staff or Django's model permissions."""

    enable_nav_sidebar = True

    def principal(self, request: HttpRequest) -> Principal | None:
        """The person in the current workspace, when the role there opens the admin."""
        return current_principal(request, Role.VIEWER)

    def has_permission(self, request: HttpRequest) -> bool:
        """Viewers and above; and superusers, who may create the first workspace."""
        if not request.user.is_active:
            return False
        return self.principal(request) is not None or bool(getattr(request.user, "is_superuser", False))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Without Django's "view on site", which answers differently for rows of other workspaces."""
        own = [path("workspace/", self.admin_view(require_POST(self.switch_workspace)), name="switch_workspace")]
        return [*own, *(url for url in super().get_urls() if getattr(url, "name", None) != "view_on_site")]

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """One sign-in page for panel and admin. Who is signed in and may not enter is told so on the panel."""
        del extra_context
        wanted = request.GET.get(REDIRECT_FIELD_NAME, "")
        if not request.user.is_authenticated:
            return redirect(f"{reverse('panel:login')}?{urlencode({REDIRECT_FIELD_NAME: wanted or self._index()})}")
        if self.has_permission(request):
            return HttpResponseRedirect(self._local(request, wanted))
        messages.warning(request, _("The admin needs the role viewer, operator or admin in a workspace."))
        return redirect("panel:home")

    def logout(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """To the sign-in page: an admin page that says goodbye would show the frame of the admin."""
        from django.contrib.auth import logout

        del extra_context
        if request.method == "POST":
            logout(request)
        return redirect("panel:login")

    def switch_workspace(self, request: HttpRequest) -> HttpResponse:
        """Look at another workspace. An unknown one changes nothing."""
        if choose_workspace(request, request.POST.get("workspace", "")):
            membership = current_membership(request)
            messages.info(request, _("You are now in %(name)s.") % {"name": membership and membership.workspace.name})
        return redirect("admin:index")

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        membership = current_membership(request, Role.VIEWER)
        return {
            **super().each_context(request),
            "workspace": membership.workspace if membership else None,
            "workspace_role": Role(membership.role) if membership else None,
            "workspaces": [one.workspace for one in memberships_in(request) if Role(one.role).rank >= Role.VIEWER.rank],
        }

    def _index(self) -> str:
        return reverse("admin:index")

    def _local(self, request: HttpRequest, wanted: str) -> str:
        safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure())
        return wanted if wanted and safe else self._index()
