from django.apps import AppConfig


class LearningConfig(AppConfig):
    name = "portal.learning"
    label = "learning"

    def ready(self) -> None:
        from portal.learning import lines
        from portal.reviews import earning

        earning.tell_learned(lines.learned_from)
