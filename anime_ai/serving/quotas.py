"""What visitors may use: each of them, those at one network address, and all together. The owner may use everything.

Knows no page and no model.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from anime_ai.config import OWNER, Settings
from anime_ai.serving.meter import DAY, HOUR, Meter

ALL = "visitors"
"""The subject under which all visitors are counted."""
MOST_PLACES = 10_000
"""Persons of whom it is remembered where they are."""
UPLOADS_A_PICTURE = 3
"""Files that a visitor may send for each picture that they may show: some are none."""


class Quotas:
    """See the module. Every call raises QuotaError where it would be too much; 0 in the settings is no limit.

    A cookie costs nothing, so whoever comes from one network address shares the limits of a few visitors.
    """

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self.settings, self.meter = settings, meter
        self._places: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    def at(self, person: str, place: str) -> None:
        """Who comes from where: `place` is a mark that an address has and nothing else."""
        with self._lock:
            self._places[person] = place
            self._places.move_to_end(person)
            while len(self._places) > MOST_PLACES:
                self._places.popitem(last=False)

    def message(self, person: str) -> None:
        """One more answer is asked for."""
        if person == OWNER:
            return
        own, limits, place = f"visitor:{person}", self.settings, self._place(person)
        with self.meter.together():
            self.meter.require(own, "tokens", DAY, limits.visitor_tokens_per_day, "serving.visitor_tokens")
            self.meter.require(place, "tokens", DAY, self._shared(limits.visitor_tokens_per_day), "serving.address")
            self.meter.require(ALL, "tokens", DAY, limits.visitors_tokens_per_day, "serving.all_tokens")
        self.meter.hurry(own, limits.visitor_messages_per_minute, "serving.visitor_minute")
        if place:
            self.meter.hurry(place, self._shared(limits.visitor_messages_per_minute), "serving.address")
        self.meter.hurry(ALL, limits.visitors_messages_per_minute, "serving.all_minute")
        self._take(person, "messages", HOUR, limits.visitor_messages_per_hour, "serving.visitor_hour")

    def spend(self, person: str, tokens: int) -> None:
        """Tokens were read and written for somebody."""
        if person == OWNER or tokens <= 0:
            return
        for subject in (f"visitor:{person}", self._place(person), ALL):
            if subject:
                self.meter.add(subject, "tokens", DAY, tokens)

    def picture(self, person: str) -> None:
        """One more picture is to be looked at."""
        self._take(person, "pictures", DAY, self.settings.visitor_pictures_per_day, "serving.visitor_pictures")

    def upload(self, person: str) -> None:
        """One more file is sent."""
        most = UPLOADS_A_PICTURE * self.settings.visitor_pictures_per_day
        self._take(person, "uploads", DAY, most, "serving.visitor_pictures")

    def change(self, person: str) -> None:
        """Something more is begun, edited, thrown away or set: what is kept of somebody has to end somewhere."""
        if person == OWNER:
            return
        limits = self.settings
        self.meter.require(ALL, "changes", HOUR, limits.visitors_changes_per_hour, "serving.all_changes")
        self._take(person, "changes", HOUR, limits.visitor_changes_per_hour, "serving.visitor_changes")
        self.meter.add(ALL, "changes", HOUR, 1)

    def _take(self, person: str, kind: str, seconds: int, most: int, key: str) -> None:
        """Count one more for a visitor and for where they are, unless it would be too much for either."""
        if person == OWNER:
            return
        if place := self._place(person):
            self.meter.require(place, kind, seconds, self._shared(most), "serving.address")
        self.meter.take(f"visitor:{person}", kind, seconds, most, key)
        if place:
            self.meter.add(place, kind, seconds, 1)

    def _shared(self, most: int) -> int:
        """The limit of an address, 0 for none."""
        return most * self.settings.visitors_per_address

    def _place(self, person: str) -> str:
        """The subject of the address that somebody was last seen at, "" where it is not known."""
        with self._lock:
            place = self._places.get(person, "")
        return f"address:{place}" if place else ""
