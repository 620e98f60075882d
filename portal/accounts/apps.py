from django.apps import AppConfig
from django.core import checks


class AccountsConfig(AppConfig):
    name = "portal.accounts"
    label = "accounts"

    def ready(self) -> None:
        from portal.accounts.routes import check_rules

        checks.register(check_rules, checks.Tags.urls)
