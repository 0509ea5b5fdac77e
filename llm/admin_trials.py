"""Buttons of the admin that ask a vendor, and show on the page what it answers."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext as _

from core.access import Permission
from core.admin import WorkspaceModelAdmin
from core.admin_display import number
from llm.models import Model, Provider
from llm.providers.asking import listed_by_vendor
from llm.trials import Trial, model_try

SHOWN_NAMES = 8


class TestableAdmin(WorkspaceModelAdmin):
    """Rows with a button *Test connection*. It works without scripts: the answer is a message on the row's page."""

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_test"
        return [path("<uuid:pk>/test/", self.admin_site.admin_view(self.test), name=name), *super().get_urls()]

    def may_test(self, request: HttpRequest) -> bool:
        return self._allows(request, Permission.MANAGE)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        extra: dict[str, Any] = {}
        if object_id and self.may_test(request):
            extra["test_url"] = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_test", args=[object_id])
        return super().changeform_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def test(self, request: HttpRequest, pk: Any) -> HttpResponse:
        obj = self.object_or_404(request, str(pk))
        if request.method != "POST" or not self.may_test(request):
            raise PermissionDenied

        def act() -> HttpResponse:
            messages.success(request, self.tested(request, obj))
            return page()

        def page() -> HttpResponse:
            return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", obj.pk)

        answer: HttpResponse = self.refusable(request, act, page)
        return answer

    def tested(self, request: HttpRequest, obj: Any) -> str:
        """Ask the vendor, and say what came back. Raises MagnetError with what the vendor says."""
        raise NotImplementedError


class TestableProviderAdmin(TestableAdmin):
    """Asks for the list of models: it shows whether address and credentials are right, and costs nothing."""

    def tested(self, request: HttpRequest, obj: Provider) -> str:
        found = [one.identifier for one in listed_by_vendor(obj, principal=self.principal(request))]
        if not found:
            return _("It answers, and offers no model.")
        names = ", ".join(found[:SHOWN_NAMES]) + (", …" if len(found) > SHOWN_NAMES else "")
        return _("It answers, and offers %(count)s models: %(names)s") % {"count": number(len(found)), "names": names}


class TestableModelAdmin(TestableAdmin):
    """Calls the model once. The call is counted as any other."""

    def tested(self, request: HttpRequest, obj: Model) -> str:
        return _told(model_try(obj, principal=self.principal(request)))


def _told(trial: Trial) -> str:
    values = {"model": trial.replied, "ms": number(round(trial.duration_ms)), "text": trial.text}
    if trial.dimensions is not None:
        return _("%(model)s answered in %(ms)s ms, with %(n)d dimensions.") % {**values, "n": trial.dimensions}
    if trial.text:
        return _("%(model)s answered in %(ms)s ms: %(text)s") % values
    return _("%(model)s answered in %(ms)s ms.") % values
