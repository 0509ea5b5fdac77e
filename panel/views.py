"""What end users see: the sign-in page, the RAG tools that they may run, and one page for each."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from accounts.current_workspace import choose_workspace, current_principal
from accounts.lockout import TooManyTries
from core.access import Permission, Principal, Role
from rag.models import RagTool
from rag.selectors import rag_tools_of


class SignInForm(AuthenticationForm):
    """Signs in by e-mail address."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": _("This e-mail address and password do not go together. Try again."),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = _("E-mail address")
        self.fields["username"].widget.attrs.update(autocomplete="username", autofocus=True, inputmode="email")
        self.fields["password"].widget.attrs.update(autocomplete="current-password")

    def clean(self) -> dict[str, Any]:
        try:
            return super().clean()
        except TooManyTries as refusal:
            raise ValidationError(str(refusal), code="locked_out") from refusal


class SignInView(LoginView):
    """The one sign-in page of panel and admin."""

    template_name = "panel/login.html"
    form_class = SignInForm
    redirect_authenticated_user = True

    def get_default_redirect_url(self) -> str:
        return reverse("front-door")


def front_door(request: HttpRequest) -> HttpResponse:
    """The root of the site: operators start in the admin, everybody else on the panel."""
    if request.user.is_authenticated and current_principal(request, Role.VIEWER) is not None:
        return redirect("admin:index")
    return redirect("panel:home")


@login_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """The RAG tools of the current workspace that this person may run."""
    principal = current_principal(request)
    tools = list(_runnable(principal)) if principal else []
    return render(request, "panel/home.html", {**_context(request, principal), "tools": tools})


@login_required
@require_GET
def rag_tool(request: HttpRequest, slug: str) -> HttpResponse:
    """A page to ask one RAG tool. A tool of another workspace, or one without a published variant, is a 404."""
    principal = current_principal(request)
    tool = _runnable(principal).filter(slug=slug).first() if principal else None
    if tool is None:
        raise Http404
    return render(request, "panel/rag_tool.html", {**_context(request, principal), "tool": tool})


@login_required
@require_POST
def switch_workspace(request: HttpRequest) -> HttpResponse:
    """Look at another workspace and stay on the panel. An unknown one changes nothing."""
    choose_workspace(request, request.POST.get("workspace", ""))
    wanted = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure())
    return redirect(wanted if wanted and safe else reverse("panel:home"))


def _runnable(principal: Principal | None) -> Any:
    """The panel runs what is published, for operators too: drafts are tried in the admin."""
    if principal is None:
        return RagTool.objects.none()
    return rag_tools_of(principal).filter(variants__is_active=True).distinct()


def _context(request: HttpRequest, principal: Principal | None) -> dict[str, Any]:
    return {
        "may_enter_admin": current_principal(request, Role.VIEWER) is not None,
        "may_read_documents": principal is not None and principal.allows(Permission.READ),
        "may_configure": principal is not None and principal.allows(Permission.MANAGE),
    }
