// Where the keyboard cannot get to, and where nobody sees that it is.
(() => {
  const wrong = [];
  const shown = (element) => !element.closest("[aria-hidden=true]") && element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && element.getBoundingClientRect().width > 0;
  const mark = (element) => {
    const found = [];
    for (let one = element, up = 0; one && up < 5; one = one.parentElement, up += 1) {
      const how = getComputedStyle(one);
      found.push([how.outlineStyle === "none" ? "" : how.outlineStyle + how.outlineWidth + how.outlineColor, how.boxShadow, how.borderColor, how.backgroundColor, how.color].join("|"));
    }
    return found;
  };
  const name = (element) => `#${element.closest("[id]")?.id || ""} ${element.tagName.toLowerCase()}.${element.className} “${(element.textContent || element.ariaLabel || "").trim().slice(0, 24)}”`;
  const all = [...document.querySelectorAll("button, a[href], input:not([type=hidden]), textarea, select, summary, [role=button], [role=tab], [role=checkbox], [role=switch], [tabindex='0'], [data-act], [data-go], [onclick]")];
  const was = document.activeElement;
  document.documentElement.classList.add("still");
  const still = document.createElement("style");
  still.textContent = "*, *::before, *::after { transition: none !important; animation: none !important; }";
  document.head.append(still);
  for (const element of all) {
    if (!shown(element) || element.disabled || element.closest("[disabled], [aria-disabled=true]")) continue;
    const roving = element.closest("[role=tablist], [role=radiogroup], [role=listbox], [role=menu], [role=toolbar]");
    if (element.tabIndex < 0 && !(roving && roving.querySelector("[tabindex='0'], :not([tabindex]):is(button, input)"))) { wrong.push("out of the keyboard's way: " + name(element)); continue; }
    document.activeElement?.blur();
    const before = mark(element);
    element.focus({ preventScroll: true });
    if (document.activeElement !== element) { wrong.push("takes no focus: " + name(element)); continue; }
    const after = mark(element);
    if (before.every((one, place) => one === after[place])) wrong.push("its focus is not seen: " + name(element));
  }
  document.activeElement?.blur();
  still.remove();
  was?.focus?.({ preventScroll: true });
  return wrong;
})()
