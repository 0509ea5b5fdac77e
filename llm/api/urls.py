"""Routes of providers and models."""

from django.urls import path

from core.api.routes import resource, verb
from llm.api.views import ModelPriceViewSet, ModelViewSet, ProviderViewSet

urlpatterns = [
    *resource("providers", ProviderViewSet),
    verb("providers/<str:id>/available-models", ProviderViewSet, "providers-available-models", post="available_models"),
    *resource("models", ModelViewSet),
    verb("models/<str:id>/test", ModelViewSet, "models-test", post="test"),
    path("models/<str:id>/prices/", ModelPriceViewSet.as_view({"get": "list", "post": "create"}), name="models-prices"),
    verb("models/<str:id>/reset-breaker", ModelViewSet, "models-reset-breaker", post="reset_breaker"),
]
