from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Access"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.mail import mail_findings
        from accounts.recurring import EXPIRED_SESSIONS
        from accounts.sign_ins import listen
        from core.doctor import DOCTOR_CHECKS
        from core.schedules import RECURRING

        RECURRING.register("expired-sessions", EXPIRED_SESSIONS)
        DOCTOR_CHECKS.register("55-mail", mail_findings)
        listen()
