"""Routes of prompt templates."""

from django.urls import path

from core.api.routes import resource, variants
from prompts.api.runs import PromptRunView
from prompts.api.views import PromptTemplateViewSet, PromptVariantViewSet

urlpatterns = [
    *resource("prompt-templates", PromptTemplateViewSet),
    *variants("prompt-templates", PromptVariantViewSet),
    path("prompt-templates/<str:id>/run", PromptRunView.as_view(), name="prompt-templates-run"),
]
