// The reading room: everything by one key, and by mouse as well; from picture to picture without loading anew.
import { makeAhead } from "./reading.ahead.js";
import { makeAnswer } from "./reading.answer.js";
import { makeBeside } from "./reading.beside.js";
import { makeBox } from "./reading.box.js";
import { makeClock } from "./reading.clock.js";
import { bindKeys } from "./reading.keys.js";
import { ask, makeDrafts } from "./reading.line.js";
import { makeTrouble } from "./reading.trouble.js";
import { makeView } from "./reading.view.js";

const get = (id) => document.getElementById(id);
const EXTEND_EVERY = 120_000;
const AHEAD_EVERY = 60_000;

export function openRoom(room, undo) {
  const form = get("answer");
  const overlay = get("overlay");
  const clock = makeClock();
  const turn = {
    token: form.elements.token.value, picture: room.dataset.picture, small: room.dataset.small,
    width: Number(room.dataset.width), height: Number(room.dataset.height), boxAsked: "boxAsked" in room.dataset,
  };
  const swaps = "swap" in room.dataset;
  const adjudicating = "adjudicating" in room.dataset;
  const low = "low" in room.dataset;
  let shown = get("picture");
  let full = !low;
  let busy = false;

  const picture = () => shown;
  const say = (text) => { get("hint").textContent = text; };
  const answer = makeAnswer({ form, boxKinds: room.dataset.boxKinds.split(" "), say, changed: () => marked(), leave });
  const drafts = makeDrafts({ form, address: room.dataset.draft, saved: get("saved"), fields: () => answer.fields() });
  // between two pictures nothing is marked on either
  const marked = () => !busy && drafts.changed();
  const box = makeBox({
    overlay, field: get("box-field"), size: () => [turn.width, turn.height], onChange: showBox, onEdit: () => marked(),
  });
  const view = makeView({ frame: get("frame"), stage: get("stage"), picture, onChange: moved });
  const beside = makeBeside({ main: get("stage"), picture, down: view.down, changed: () => box.redraw() });
  const trouble = makeTrouble({ place: get("trouble"), login: room.dataset.login, again: () => form.requestSubmit(), next: goOn });
  const ahead = makeAhead({ address: low ? "" : room.dataset.ahead, form });

  // back to the picture, from wherever the keys were
  function leave() {
    box.toggle(false);
    if (get("skip")) get("skip").open = false;
    get("frame").focus();
  }

  // ---- the picture
  function moved({ scale }) {
    box.redraw();
    beside?.follow();
    if (!full && scale > 1) showFull();
  }
  function measure() {
    overlay.setAttribute("viewBox", `0 0 ${turn.width} ${turn.height}`);
    box.redraw();
  }
  function gone() { say("The picture could not be loaded. It may have been withdrawn, or the line is away: reload the page, or skip it."); }
  function put(image) {
    Object.assign(image, { id: "picture", alt: "The picture to be read", draggable: false });
    if (image !== shown) shown.replaceWith(image);
    shown = image;
    image.addEventListener("error", gone);
    view.light();
  }
  async function showFull() {
    if (full) return;
    full = true;
    const image = ahead.take(turn.picture);
    await image.decode().catch(gone);
    if (image.src.endsWith(turn.picture)) put(image);
  }
  function showBox(now) {
    get("box-toggle").setAttribute("aria-pressed", now.active);
    hide(get("box-remove"), !now.box);
    hide(get("box-back"), !now.active || !now.steps);
    if (now.active) say(now.box ? "Arrows move the box, Shift with arrows sizes it. The box key ends." : "Drag a box, or press an arrow key to begin with one.");
    else if (get("hint").dataset.box) say("");
    get("hint").dataset.box = now.active ? "1" : "";
  }

  // a button that vanishes under somebody's fingers leaves them at the next
  function hide(button, away) {
    if (away && button === document.activeElement) get("box-toggle").focus();
    button.hidden = away;
  }

  // ---- from turn to turn
  async function take(given) {
    if (!given.token) return location.assign(location.pathname);
    // what is taken back may belong to the other room
    if (given.adjudicating !== adjudicating) return location.assign(room.dataset.rooms.split(" ")[+given.adjudicating]);
    Object.assign(turn, given, { boxAsked: given.box_asked });
    for (const name of ["answer", "skip-form", "release-form"]) get(name).elements.token.value = turn.token;
    // with the address, at once: what was marked on the last picture must not be kept as said of this one
    answer.put(turn.draft);
    box.put(turn.draft.box);
    // not into the note of the next: keys are for the picture
    get("frame").focus();
    full = !low;
    const image = ahead.take(low ? turn.small : turn.picture);
    const there = await image.decode().then(() => true, () => false);
    put(image);
    if (adjudicating) tellEarlier(turn.earlier);
    beside.load(turn.token, turn.beside);
    get("skip").open = false;
    get("waiting").textContent = turn.waiting;
    get("saved").textContent = "";
    measure();
    trouble.clear();
    if (there) say("");
    else gone();
    clock.begin();
    ready();
    setTimeout(() => ahead.fetch());
  }
  // what others answered, drawn by the templates of the page
  function tellEarlier({ answers = "", boxes = "" }) {
    get("earlier").innerHTML = answers;
    get("earlier-boxes").innerHTML = boxes;
  }
  // what is set here is what tests and measurements wait for: the page takes keys for this picture
  function ready() {
    busy = false;
    get("submit").removeAttribute("aria-disabled");
    room.dataset.ready = turn.token;
  }
  function goOn() { location.assign(swaps ? location.pathname : room.dataset.home || location.pathname); }

  async function submit() {
    const lacks = answer.missing({ box: box.drawn, boxAsked: turn.boxAsked, reasonAsked: adjudicating });
    if (lacks) return say(lacks);
    busy = true;
    // and not disabled, or whoever is refused would have lost their place
    get("submit").setAttribute("aria-disabled", "true");
    get("seconds").value = clock.seconds().toFixed(3);
    await drafts.stop();
    const token = turn.token;
    const { status, said } = await ask(form.action, new FormData(form), form);
    if (status === 200) {
      drafts.forget(token);
      trouble.clear();
      if (said.to) return location.assign(said.to);
      if (!swaps) return location.reload();
      undo.begin(token, said.undo);
      return take(said.next);
    }
    refused(status, said);
  }
  function refused(status, said) {
    ready();
    if (status === 400) return say(said.message);
    if (status === 409) return trouble.over(said.message);
    if ([403, 404].includes(status)) return trouble.over(`Your answer was not recorded. ${said.message}`);
    drafts.keepHere();
    trouble.waits(status);
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!busy) submit();
  });
  for (const kind of ["input", "change"]) form.addEventListener(kind, () => { say(""); marked(); });

  async function other(event, act) {
    if (!swaps) return;
    event.preventDefault();
    if (busy) return;
    busy = true;
    await drafts.flush();
    const fields = new FormData(event.target);
    if (event.submitter?.name) fields.set(event.submitter.name, event.submitter.value);
    const { status, said } = await ask(event.target.action, fields, form);
    if (status === 200) return act(said);
    ready();
    trouble.tell(said.message || "That did not work: the line or the login is away. Nothing was changed.");
  }
  undo.form?.addEventListener("submit", (event) => other(event, (said) => {
    undo.end();
    return take(said.next);
  }));
  get("skip-form")?.addEventListener("submit", (event) => other(event, (said) => take(said.next)));

  // ---- keys and buttons
  function skip() {
    if (!get("skip")) return;
    get("skip").open = true;
    get("skip").querySelector("button").focus();
  }
  function toggleBox() {
    beside.blink(false);
    box.toggle();
  }
  function blink() {
    if (box.active) return say("End the box first. It belongs to the picture that is read.");
    beside.blink();
  }
  const commands = {
    undo: () => undo.ask(), skip, note: () => get("note").focus(), box: toggleBox, beside: () => beside.next(), blink, full: showFull,
    zoom_in: view.zoomIn, zoom_out: view.zoomOut, fit: view.fit, plain: view.plain,
    darker: () => view.brighter(-1), brighter: () => view.brighter(1), softer: () => view.harder(-1), harder: () => view.harder(1),
  };
  bindKeys({
    keys: JSON.parse(room.dataset.keys), commands, answer, box, view, leave, submit: () => form.requestSubmit(),
    note: get("note"), help: get("help"), asleep: () => busy,
  });
  for (const [id, act] of Object.entries({
    "zoom-in": view.zoomIn, "zoom-out": view.zoomOut, "zoom-reset": view.fit, plain: view.plain, "blink-toggle": blink, full: showFull,
    "box-toggle": toggleBox, "box-remove": box.remove, "box-back": box.back, "help-open": () => get("help").showModal(),
  })) get(id)?.addEventListener("click", () => act());

  // ---- hold the picture while somebody looks at it
  async function extend() {
    if (clock.idle() || busy || !room.dataset.extend) return;
    const fields = new FormData();
    fields.set("token", turn.token);
    const { status, said } = await ask(room.dataset.extend, fields, form);
    if (status !== 200 || said.held) return;
    trouble.tell("Your time with this picture has run out. You can still submit; you will be told if your answer is no longer waited for.");
  }
  setInterval(extend, EXTEND_EVERY);
  setInterval(() => !clock.idle() && !busy && ahead.fetch(), AHEAD_EVERY);

  // ---- the first turn stands in the page
  shown.addEventListener("error", gone);
  const lost = drafts.found(turn.token);
  if (lost) { answer.put(lost); box.put(lost.box); }
  beside.load(turn.token, (get("strip").dataset.beside || "").split(" ").filter(Boolean));
  measure();
  shown.decode().catch(() => {}).then(() => { ready(); ahead.fetch(); });
}
