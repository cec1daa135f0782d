"""What works on this machine, what does not, and the mend. Knows no page and repairs nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from anime_ai.config import Settings
from anime_ai.doctor import machine
from anime_ai.doctor.check import Check, Speaker
from anime_ai.doctor.device import device_checks, nvidia_card
from anime_ai.doctor.packages import OTHER_GROUP, PACKAGES, TORCH_GROUP, broken_packages, package_check, probe

__all__ = ["PACKAGES", "Check", "broken_packages", "check_all"]


def check_all(settings: Settings, language: str | None = None) -> list[Check]:
    """Every check in reading order, `found` and `mend` in `language`. Takes about as long as importing everything."""
    say = Speaker(language)
    with ThreadPoolExecutor(4) as pool:
        torch_group = pool.submit(probe, tuple(TORCH_GROUP))
        other_group = pool.submit(probe, tuple(OTHER_GROUP))
        card = pool.submit(nvidia_card)
        hub = pool.submit(machine.hub, settings, say)
        reports = {**torch_group.result(), **other_group.result()}
        return [
            machine.python(say),
            machine.encoding(say),
            *(package_check(name, reports[name], say) for name in PACKAGES),
            *device_checks(reports.get("device", {}), card.result(), say),
            machine.cpus(say),
            machine.memory(say),
            *machine.folders(settings, say),
            machine.database(settings, say),
            machine.starter(settings, say),
            machine.base_model(settings, say),
            hub.result(),
        ]
