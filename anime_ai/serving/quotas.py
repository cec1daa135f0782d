"""What visitors may use: each of them, and all together. The owner may use everything. Knows no page and no model."""

from __future__ import annotations

from anime_ai.config import OWNER, Settings
from anime_ai.serving.meter import DAY, HOUR, Meter

ALL = "visitors"
"""The subject under which all visitors are counted."""
UPLOADS_A_PICTURE = 3
"""Files that a visitor may send for each picture that they may show: some are none."""


class Quotas:
    """See the module. Every call raises QuotaError where it would be too much; 0 in the settings is no limit."""

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self.settings, self.meter = settings, meter

    def message(self, person: str) -> None:
        """One more answer is asked for."""
        if person == OWNER:
            return
        own, limits = f"visitor:{person}", self.settings
        self.meter.require(own, "tokens", DAY, limits.visitor_tokens_per_day, "serving.visitor_tokens")
        self.meter.require(ALL, "tokens", DAY, limits.visitors_tokens_per_day, "serving.all_tokens")
        self.meter.hurry(own, limits.visitor_messages_per_minute, "serving.visitor_minute")
        self.meter.hurry(ALL, limits.visitors_messages_per_minute, "serving.all_minute")
        self.meter.take(own, "messages", HOUR, limits.visitor_messages_per_hour, "serving.visitor_hour")

    def spend(self, person: str, tokens: int) -> None:
        """Tokens were read and written for somebody."""
        if person == OWNER or tokens <= 0:
            return
        for subject in (f"visitor:{person}", ALL):
            self.meter.add(subject, "tokens", DAY, tokens)

    def picture(self, person: str) -> None:
        """One more picture is to be looked at."""
        if person != OWNER:
            most = self.settings.visitor_pictures_per_day
            self.meter.take(f"visitor:{person}", "pictures", DAY, most, "serving.visitor_pictures")

    def upload(self, person: str) -> None:
        """One more file is sent."""
        if person != OWNER:
            most = UPLOADS_A_PICTURE * self.settings.visitor_pictures_per_day
            self.meter.take(f"visitor:{person}", "uploads", DAY, most, "serving.visitor_pictures")
