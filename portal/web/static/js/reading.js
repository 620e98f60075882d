// The reading room: everything by one key, and by mouse as well.
import { makeBeside } from "./reading.beside.js";
import { makeBox } from "./reading.box.js";
import { makeView } from "./reading.view.js";

const get = (id) => document.getElementById(id);
const room = get("room");
const form = get("answer");
const picture = get("picture");
const overlay = get("overlay");
const hint = get("hint");
const help = get("help");
const note = get("note");
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const EXTEND_EVERY = 120_000;
const opened = performance.now();
let sent = false;

const box = makeBox({ overlay, picture, field: get("box-field"), onChange: showBox });
const view = makeView({ frame: get("frame"), stage: get("stage"), picture, onChange: () => { box.redraw(); beside?.follow(); } });
const beside = makeBeside({ main: get("stage"), picture, down: view.down, changed: () => box.redraw() });

function showBox(now) {
  get("box-toggle").setAttribute("aria-pressed", now.active);
  get("box-remove").hidden = !now.box;
  if (now.active) say(now.box ? "Arrows move the box, Shift with arrows sizes it. b ends." : "Drag a box, or press an arrow key to begin with one.");
  else if (hint.dataset.box) say("");
  hint.dataset.box = now.active ? "1" : "";
}
function say(text) { hint.textContent = text; }

function loaded() { overlay.setAttribute("viewBox", `0 0 ${picture.naturalWidth} ${picture.naturalHeight}`); box.redraw(); }
picture.addEventListener("load", loaded);
picture.addEventListener("error", () => say("The picture could not be loaded. Reload the page."));
if (picture.complete && picture.naturalWidth) loaded();

// ---- the answer
const radios = [...form.querySelectorAll("input[name=kind]")];
const byKey = Object.fromEntries(radios.flatMap((radio) => [...radio.dataset.keys].map((key) => [key, radio])));

function chosen() { return radios.find((radio) => radio.checked)?.value; }
function showReasons() { get("reasons").hidden = chosen() !== "unusable"; }
function choose(radio) {
  radio.checked = true;
  say("");
  showReasons();
  if (radio.value === "unusable") get("reasons").querySelector("input").focus();
  else if (get("reasons").contains(document.activeElement)) document.activeElement.blur();
}
for (const radio of radios) radio.addEventListener("change", () => { say(""); showReasons(); });
showReasons();

form.addEventListener("submit", (event) => {
  if (sent || !complete()) return event.preventDefault();
  sent = true;
  get("seconds").value = ((performance.now() - opened) / 1000).toFixed(3);
  get("submit").disabled = true;
});
function complete() {
  if (!chosen()) { say("Choose an answer first: one key of the list."); return false; }
  if (chosen() === "unusable" && !form.querySelector("input[name=reasons]:checked")) {
    say("Say why it is unusable: Space marks a reason, Tab goes to the next.");
    get("reasons").querySelector("input").focus();
    return false;
  }
  return true;
}
// a page that the browser kept from before is not the present one
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

// ---- keys
const COMMANDS = {
  Enter: () => form.requestSubmit(),
  n: () => note.focus(),
  b: () => toggleBox(),
  "+": view.zoomIn, "=": view.zoomIn, "-": view.zoomOut, 0: view.fit,
  "[": () => view.brighter(-1), "]": () => view.brighter(1), "{": () => view.harder(-1), "}": () => view.harder(1),
  "?": () => help.showModal(),
  Escape: () => box.toggle(false),
  e: () => beside?.next(), v: () => blink(),
  Delete: () => box.remove(), Backspace: () => box.remove(),
};

document.addEventListener("keydown", (event) => {
  if (help.open || event.altKey || event.metaKey) return;
  if (event.target === note) return inNote(event);
  if (event.ctrlKey) return;
  const own = event.target.closest("button, a, dialog");
  if (own && ["Enter", " "].includes(event.key)) return;
  if (event.key in ARROWS) return arrow(event);
  const radio = byKey[event.key.toLowerCase()];
  const command = radio ? () => choose(radio) : COMMANDS[event.key];
  if (!command) return;
  event.preventDefault();
  // holding a key down must not answer the next picture too
  if (!event.repeat || "+=-[]{}".includes(event.key)) command();
});
function inNote(event) {
  if (event.key === "Escape") note.blur();
  if (event.key === "Enter" && event.ctrlKey) form.requestSubmit();
}
function arrow(event) {
  if (event.target.matches("input[type=range], input[type=radio]")) return;
  event.preventDefault();
  const [dx, dy] = ARROWS[event.key];
  if (box.active) box.nudge(dx, dy, event.shiftKey);
  else view.look(dx, dy);
}

function toggleBox() {
  beside?.blink(false);
  box.toggle();
}
function blink() {
  if (box.active) return say("End the box first: b. It belongs to the picture that is read.");
  beside?.blink();
}
if (beside) get("blink-toggle").addEventListener("click", blink);

for (const [id, act] of Object.entries({
  "zoom-in": view.zoomIn, "zoom-out": view.zoomOut, "zoom-reset": view.fit, plain: view.plain,
  "box-toggle": () => toggleBox(), "box-remove": () => box.remove(), "help-open": () => help.showModal(),
})) get(id).addEventListener("click", () => act());

// ---- hold the picture while somebody looks at it
async function extend() {
  if (document.visibilityState !== "visible" || sent) return;
  const body = new FormData();
  for (const name of ["token", "csrfmiddlewaretoken"]) body.set(name, form.elements[name].value);
  const answer = await fetch(room.dataset.extend, { method: "POST", body, headers: { Accept: "application/json" } }).catch(() => null);
  if (!answer || answer.ok === false && answer.status >= 500) return;
  const held = answer.ok && (await answer.json().catch(() => ({ held: false }))).held;
  if (held) return;
  get("lost").textContent = "Your time with this picture has run out. You can still submit; you will be told if your answer is no longer waited for.";
  get("lost").hidden = false;
}
setInterval(extend, EXTEND_EVERY);
