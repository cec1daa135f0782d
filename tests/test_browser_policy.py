"""The page lives under its content security policy, and what is smuggled into it reaches nobody."""

from __future__ import annotations

from typing import Any

import pytest
from browsing import Tab

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WATCH = """
window.broken = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.broken.push(event.violatedDirective + " " + event.blockedURI);
});
"""


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)])
def test_every_tab_works_under_the_policy(browser: Any, address: str, width: int, dark: bool) -> None:
    tab = Tab(browser, address, width=width, dark=dark)
    tab.page.add_init_script(WATCH)
    page = tab.open()
    names = page.eval_on_selector_all(
        "#tabs > .tab-wrapper button[role=tab]", "all => all.map(one => one.dataset.tabId)"
    )
    assert "chat" in names
    assert "machine" in names
    for name in dict.fromkeys(names):
        page.evaluate("name => document.querySelector(`button[role=tab][data-tab-id=${name}]`).click()", name)
        page.wait_for_selector(f"#{name}", state="visible")
        page.wait_for_timeout(300)
    assert page.evaluate("window.broken") == []
    assert (tab.faults, tab.elsewhere) == ([], [])
    tab.context.close()


def test_a_picture_a_script_a_frame_and_a_form_for_elsewhere_are_stopped(browser: Any, address: str) -> None:
    tab = Tab(browser, address)
    tab.page.add_init_script(WATCH)
    page = tab.open()
    page.evaluate(
        """() => {
        const away = "http://203.0.113.1/";
        for (const [name, at] of [["img", "src"], ["script", "src"], ["iframe", "src"], ["object", "data"]]) {
            const made = document.createElement(name);
            made[at] = away;
            document.body.append(made);
        }
        fetch(away).catch(() => {});
        const form = document.createElement("form");
        form.action = away; form.method = "post"; document.body.append(form); form.submit();
    }"""
    )
    page.wait_for_function("window.broken.length >= 6")
    stopped = {one.split(" ")[0] for one in page.evaluate("window.broken")}
    assert {"img-src", "script-src-elem", "frame-src", "object-src", "connect-src", "form-action"} <= stopped
    assert page.url.startswith(address)
    tab.context.close()
