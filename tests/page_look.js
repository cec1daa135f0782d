// What is wrong with how the page looks, a line each: room, contrast, targets for a finger.
(() => {
  const wrong = [];
  const say = (what, element, more = "") => {
    const id = element.closest("[id]")?.id || "";
    const words = (element.textContent || "").trim().slice(0, 24);
    const name = element.tagName.toLowerCase() + (element.className?.baseVal ?? element.className ?? "").toString()
      .split(/\s+/).filter((one) => one && !one.startsWith("svelte-")).slice(0, 3).map((one) => "." + one).join("");
    wrong.push(`${what}: #${id} ${name} “${words}” ${more}`);
  };
  const shown = (element) => {
    if (element.closest("[aria-hidden=true]")) return false;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0;
  };
  const scrolls = (element) => {
    for (let one = element.parentElement; one; one = one.parentElement) {
      const how = getComputedStyle(one);
      if (/auto|scroll|hidden|clip/.test(how.overflowX)) return true;
      if (how.position === "fixed") return false;
    }
    return false;
  };

  // Room: nothing lies beside the page, and no words are cut off at the side of what cannot be scrolled.
  if (document.documentElement.scrollWidth > innerWidth) wrong.push(`wider than the window: ${document.documentElement.scrollWidth}`);
  for (const element of document.querySelectorAll("body *")) {
    const box = element.getBoundingClientRect();
    if (box.right > innerWidth + 1 && box.width > 0 && shown(element) && !scrolls(element)) say("beside the window", element, Math.round(box.right));
  }

  // Contrast.
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const parsed = new Map();
  const colour = (given) => {
    if (!parsed.has(given)) {
      canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = "#000"; canvas.fillStyle = given; canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      parsed.set(given, a ? [r, g, b, a / 255] : [0, 0, 0, 0]);
    }
    return parsed.get(given);
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255).map((one) => one <= .04045 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4)
    .reduce((sum, one, i) => sum + one * [.2126, .7152, .0722][i], 0);
  const ratio = (one, other) => { const [a, b] = [light(one), light(other)].sort((x, y) => y - x); return (a + .05) / (b + .05); };
  const grounds = (element) => {  // every colour that may lie below, from the page upwards
    const chain = [];
    for (let one = element; one; one = one.parentElement) chain.unshift(one);
    let found = [colour(getComputedStyle(document.documentElement).colorScheme.includes("dark") ? "#000" : "#fff")];
    for (const one of chain) {
      const how = getComputedStyle(one), opacity = +how.opacity;
      const tinted = (top) => [top[0], top[1], top[2], top[3] * opacity];
      const plain = tinted(colour(how.backgroundColor));
      if (plain[3]) found = found.map((below) => over(plain, below));
      const stops = how.backgroundImage.startsWith("url") ? [] : how.backgroundImage.match(/(rgba?|oklab|oklch|color)\([^()]*\)|#[0-9a-f]{3,8}/g) || [];
      if (stops.length) found = stops.flatMap((stop) => found.map((below) => over(tinted(colour(stop)), below)));
    }
    return found.slice(0, 16);
  };
  const faint = (element, ink, how, what) => {
    const size = parseFloat(how.fontSize), bold = +how.fontWeight >= 700;
    const least = size >= 24 || (size >= 18.66 && bold) ? 3 : 4.5;
    let opacity = 1;
    for (let one = element; one; one = one.parentElement) opacity *= +getComputedStyle(one).opacity;
    const worst = Math.min(...grounds(element).map((below) => ratio(over([ink[0], ink[1], ink[2], ink[3] * opacity], below), below)));
    if (worst < least - .005) say(what, element, `${worst.toFixed(2)} < ${least}`);
  };
  const off = (element) => element.closest("[disabled], [aria-disabled=true], .disabled");
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || seen.has(element) || /^(SCRIPT|STYLE|OPTION|TITLE|NOSCRIPT)$/.test(element.tagName) || !shown(element) || off(element)) continue;
    seen.add(element);
    const how = getComputedStyle(element);
    faint(element, colour(element.closest("svg") && how.fill !== "none" ? how.fill : how.color), how, "faint");
  }
  for (const element of document.querySelectorAll("input, textarea")) {
    if (!shown(element) || off(element)) continue;
    if (/^(checkbox|radio|file|range|color)$/.test(element.type)) continue;
    const how = getComputedStyle(element);
    if (element.value) faint(element, colour(how.color), how, "faint");
    else if (element.placeholder) faint(element, colour(getComputedStyle(element, "::placeholder").color), how, "faint placeholder");
  }

  // Targets for a finger: 24 by 24, unless they stand within words.
  const touched = "button, a[href], input:not([type=hidden]), textarea, select, summary, [role=button], [role=tab], [role=checkbox], [role=switch], [role=option], [tabindex='0']";
  for (const element of document.querySelectorAll(touched)) {
    if (!shown(element) || off(element) || element.matches("svg *")) continue;
    const label = element.labels?.[0] || element;
    const boxes = [element, label].map((one) => one.getBoundingClientRect());
    const [width, height] = ["width", "height"].map((side) => Math.max(...boxes.map((box) => box[side])));
    const inWords = element.matches("a, button.link") && getComputedStyle(element).display === "inline";
    if (!inWords && (width < 23.5 || height < 23.5)) say("too small", element, `${Math.round(width)} × ${Math.round(height)}`);
  }
  return wrong;
})()
