// What can be done to the messages of a conversation: buttons under each, an editor in its place, keys.
// `element` holds the line; `trigger` tells the page. Knows no server.
const room = () => document.getElementById("talk");
const tell = (act, id, more = {}) => trigger(act === "branch" ? "select" : "click", { act, id, ...more });
const words = (message) => {
  const copy = message.querySelector(".message-content").cloneNode(true);
  copy.querySelectorAll("a.cite, img").forEach((one) => one.remove());
  return copy.textContent;
};
const told = (name) => element.querySelector(".line")?.dataset[name] ?? "";

const copyOut = async (said) => {
  try { await navigator.clipboard.writeText(said); } catch { // no clipboard outside of a secure page
    const box = document.createElement("textarea");
    box.value = said;
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }
};

const button = (name, act, kind = "") => {
  const made = document.createElement("button");
  made.type = "button";
  made.className = kind;
  made.textContent = name;
  made.addEventListener("click", (event) => { event.stopPropagation(); act(); });
  return made;
};

const edit = (row) => {
  if (!row || row.querySelector("textarea")) return;
  const content = row.querySelector(".message-content");
  if (!content) return;
  const user = row.classList.contains("user");
  const box = document.createElement("textarea");
  box.value = words(row);
  const bar = document.createElement("div");
  bar.className = "bar";
  const id = row.dataset.message;
  const leave = () => { form.remove(); row.classList.remove("editing"); };
  const save = (act) => { const said = box.value; leave(); tell(act, id, { text: said }); };
  bar.append(
    button(told("save"), () => save("edit"), user ? "" : "main"),
    button(user ? told("saveAsk") : told("saveGoOn"), () => save(user ? "reword" : "edit_go_on"), user ? "main" : ""),
    button(told("cancel"), leave),
  );
  const form = document.createElement("div");
  form.className = "rewrite";
  form.append(box, bar);
  row.classList.add("editing");
  content.after(form);
  box.style.height = `${Math.min(box.scrollHeight + 8, 360)}px`;
  box.focus();
  box.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") { event.stopPropagation(); leave(); }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      save(user ? "reword" : "edit");
    }
  });
};

// What has to be known before something is done.
const ask = (row, notice, act) => {
  row.querySelector(".notice-bar")?.remove();
  const bar = document.createElement("div");
  bar.className = "notice-bar";
  const said = document.createElement("p");
  said.textContent = notice;
  bar.append(said, button(told("agree"), () => { bar.remove(); act(); }, "main"), button(told("cancel"), () => bar.remove()));
  row.querySelector(".side").append(bar);
};

element.addEventListener("click", async (event) => {
  const pressed = event.target.closest("button[data-act]");
  if (!pressed || pressed.disabled) return;
  const { act, id } = pressed.dataset;
  const row = pressed.closest("[data-message]");
  const notice = told("notice");
  if ((act === "up" || act === "down") && notice) return ask(row, notice, () => tell(act, id, { agreed: true }));
  if (act === "copy") {
    await copyOut(words(row));
    pressed.classList.add("done");
    setTimeout(() => pressed.classList.remove("done"), 900);
  } else if (act === "edit") edit(row);
  else if (act === "delete" && !pressed.classList.contains("sure")) {
    pressed.classList.add("sure");
    pressed.dataset.ask = told("sure");
    setTimeout(() => pressed.classList.remove("sure"), 3000);
  } else if (act) tell(act, id);
});

// The keys that SillyTavern's users have in their fingers.
const typing = () => document.activeElement?.matches("textarea, input, select, [contenteditable]");
window.addEventListener("keydown", (event) => {
  if (!element.isConnected || !room()?.offsetParent || event.isComposing) return;
  const composer = document.querySelector("#message textarea");
  const empty = document.activeElement === composer && composer.value === "";
  const last = [...element.querySelectorAll(".message-row[data-message]")].pop();
  if (event.key === "Escape") document.querySelector("#stop")?.click();
  if (typing() && !empty) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrows = last?.querySelectorAll(".swipe button");
  if (event.key === "ArrowLeft" && arrows?.length) arrows[0].click();
  if (event.key === "ArrowRight" && arrows?.length) arrows[1].click();
  if (event.key === "ArrowUp" && empty) {
    event.preventDefault();
    edit([...element.querySelectorAll(".message-row.user[data-message]")].pop());
  }
});

// The end stays in view while somebody looks at it; who has scrolled up is left there. A thought that was opened by
// hand while it is written stays open.
let atEnd = true;
let opened = null;
const watchRoom = () => {
  const box = room();
  if (!box || box.dataset.watched) return;
  box.dataset.watched = "yes";
  box.addEventListener("scroll", () => { atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 60; });
  box.addEventListener("toggle", (event) => {
    if (event.target.closest(".streaming") && event.isTrusted) opened = event.target.open;
  }, true);
  new MutationObserver(() => {
    if (!box.querySelector(".streaming")) opened = null;
    const aim = box.querySelector(".aim");
    if (aim) { aim.scrollIntoView({ block: "center" }); aim.classList.remove("aim"); atEnd = false; return; }
    if (atEnd) box.scrollTop = box.scrollHeight;
  }).observe(box, { childList: true, subtree: true, characterData: true });
  box.scrollTop = box.scrollHeight;
};
watchRoom();
setTimeout(watchRoom, 300);
