"""Routes of providers and models."""

from core.api.routes import resource, verb
from llm.api.views import ModelViewSet, ProviderViewSet

urlpatterns = [
    *resource("providers", ProviderViewSet),
    *resource("models", ModelViewSet),
    verb("models/<str:id>/test", ModelViewSet, "models-test", post="test"),
]
