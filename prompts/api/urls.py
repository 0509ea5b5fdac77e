"""Routes of prompt templates."""

from core.api.routes import resource, variants
from prompts.api.views import PromptTemplateViewSet, PromptVariantViewSet

urlpatterns = [
    *resource("prompt-templates", PromptTemplateViewSet),
    *variants("prompt-templates", PromptVariantViewSet),
]
