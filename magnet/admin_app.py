"""Django's admin app with our site."""

from django.contrib.admin.apps import AdminConfig


class MagnetAdminConfig(AdminConfig):
    default_site = "accounts.admin_site.MagnetAdminSite"
