"""Routes of providers and models."""

from django.urls import path

from core.api.routes import resource, verb
from llm.api.views import ModelPriceViewSet, ModelViewSet, OllamaViewSet, ProviderViewSet

urlpatterns = [
    *resource("providers", ProviderViewSet),
    verb("providers/<str:id>/available-models", ProviderViewSet, "providers-available-models", post="available_models"),
    verb("ollama/look", OllamaViewSet, "ollama-look", post="look"),
    verb("ollama/connect", OllamaViewSet, "ollama-connect", post="connect"),
    *resource("models", ModelViewSet),
    verb("models/<str:id>/test", ModelViewSet, "models-test", post="test"),
    verb("models/<str:id>/offered-drafts", ModelViewSet, "models-offered-drafts", get="offered_drafts"),
    verb("models/<str:id>/make-drafts", ModelViewSet, "models-make-drafts", post="make_drafts"),
    path("models/<str:id>/prices/", ModelPriceViewSet.as_view({"get": "list", "post": "create"}), name="models-prices"),
    verb("models/<str:id>/reset-breaker", ModelViewSet, "models-reset-breaker", post="reset_breaker"),
]
