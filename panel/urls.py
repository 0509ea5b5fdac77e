"""Routes below /panel/."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from panel import views
from panel.password import password

app_name = "panel"
urlpatterns = [
    path("", views.home, name="home"),
    path("login/", views.SignInView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page="panel:login"), name="logout"),
    path("password/", password, name="password"),
    path("workspace/", views.switch_workspace, name="switch-workspace"),
    path("rag-tools/<slug:slug>/", views.rag_tool, name="rag-tool"),
]
