"""Routes of jobs, runs, traces and usage."""

from django.urls import path

from core.api.routes import resource, verb
from observability.api.budgets import BudgetViewSet
from observability.api.usage import UsageView
from observability.api.views import (
    JobEventsView,
    JobViewSet,
    RunCancelView,
    RunEventsView,
    RunViewSet,
    TraceViewSet,
)

urlpatterns = [
    *resource("budgets", BudgetViewSet),
    *resource("jobs", JobViewSet),
    verb("jobs/<str:id>/cancel", JobViewSet, "jobs-cancel", post="cancel"),
    verb("jobs/<str:id>/retry", JobViewSet, "jobs-retry", post="retry"),
    path("jobs/<str:id>/events", JobEventsView.as_view(), name="jobs-events"),
    *resource("runs", RunViewSet),
    path("runs/<str:id>/events", RunEventsView.as_view(), name="runs-events"),
    path("runs/<str:id>/cancel", RunCancelView.as_view(), name="runs-cancel"),
    *resource("traces", TraceViewSet),
    path("usage/", UsageView.as_view(), name="usage"),
]
