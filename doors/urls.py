"""Routes below /v1/, as OpenAI's clients know them."""

from django.urls import path, re_path

from doors.api.models import EmbeddingsView, ModelDetailView, ModelListView
from doors.api.views import ChatCompletionsView, ResponsesView
from doors.errors import unknown_route

urlpatterns = [
    path("models", ModelListView.as_view(), name="v1-models"),
    path("models/<path:id>", ModelDetailView.as_view(), name="v1-model"),
    path("chat/completions", ChatCompletionsView.as_view(), name="v1-chat"),
    path("responses", ResponsesView.as_view(), name="v1-responses"),
    path("embeddings", EmbeddingsView.as_view(), name="v1-embeddings"),
    re_path(r"^(?P<path>(?s:.*))$", unknown_route),
]
