// The page of an upload: what is chosen, what has arrived, what is wrong. The files themselves go by uploads.line.js; what arrived is
// asked for first, so that the same folder, chosen again, sends only what is missing.
import { Line, markOf } from "./uploads.line.js";

const TRIES = 8;
const ROWS = 300; // shown at once; what is not sent stays in sight
const STALLED = 60_000;
const TABLE = /\.(csv|tsv|txt|xlsx)$/i;
const NOT_MEANT = /(^|\/)(\.|Thumbs\.db$|desktop\.ini$|__MACOSX\/)/i;

const form = document.getElementById("sender");
const at = (id) => document.getElementById(id);
const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
const files = new Map();
const openUploads = at("open-uploads") ? JSON.parse(at("open-uploads").textContent) : [];
const count = { sent: 0, failed: 0, bytes: 0, sentBytes: 0 };
let table = null;
let skipped = 0;
let addresses = form.dataset.addresses ? JSON.parse(at(form.dataset.addresses).textContent) : null;
let sending = false;
let line = null;
let goOn = null;
let paused = false;
let drawn = false;

// ---- choosing

function add(list) {
  const named = [...list].map((file) => ({ file, name: file.path ?? (file.webkitRelativePath || file.name) }));
  const tops = new Set(named.map(({ name }) => (name.includes("/") ? name.split("/")[0] : "")));
  const top = tops.size === 1 && !tops.has("") ? [...tops][0].length + 1 : 0;
  for (const { file, name } of named) {
    const shown = name.slice(top);
    if (NOT_MEANT.test(shown)) skipped += 1;
    else if (TABLE.test(shown)) table = file;
    else put({ file, name: shown, state: "waiting", moved: 0 });
  }
  showChosen();
  seekOpen();
}

function put(item) {
  const before = files.get(item.name);
  if (before && ["sent", "sending"].includes(before.state)) return;
  files.set(item.name, item);
  count.bytes += item.file.size - (before?.file.size ?? 0);
}

function showChosen() {
  const words = [`${files.size} file${files.size === 1 ? "" : "s"} chosen (${megabytes(count.bytes)} MB)`];
  if (table) words.push(`table ${table.name}`);
  if (skipped) words.push(`${skipped} hidden file${skipped === 1 ? "" : "s"} left out`);
  at("chosen").textContent = words.join(" · ") + ".";
  at("start").disabled = sending || !(files.size || table);
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return add(transfer.files);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  add(found);
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    file.path = entry.fullPath.replace(/^\//, "");
    found.push(file);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const inner of some) await walk(inner, found);
  }
}

// ---- one request

class Refused extends Error {}
class Broken extends Error {}

function post(url, body) {
  return ask("POST", url, body);
}

function get(url) {
  return ask("GET", url, null);
}

function ask(method, url, body) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let watch = 0;
    const alive = () => { clearTimeout(watch); watch = setTimeout(() => request.abort(), STALLED); };
    request.open(method, url);
    request.setRequestHeader("X-CSRFToken", token);
    request.setRequestHeader("Accept", "application/json");
    request.upload.onprogress = alive;
    request.onloadend = () => {
      clearTimeout(watch);
      const said = parsed(request.responseText);
      if (request.status >= 200 && request.status < 300 && said) resolve(said);
      else reject(refusal(request.status, said));
    };
    alive();
    request.send(body);
  });
}

function refusal(status, said) {
  const words = said?.message;
  const passing = status === 0 || status === 408 || status === 429 || status >= 500 || said?.code === "incomplete";
  if (passing) return new Broken(words ?? "The line to the portal broke.");
  if (status === 401) return new Refused("You were logged out. Log in in another tab, then send the failed ones again.");
  if (status === 413) return new Refused("The file is too big for this server.");
  return new Refused(words ?? `The portal refused (${status}). Reload the page.`);
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return null; }
}

function pause(tries) {
  const wait = Math.min(30_000, 500 * 2 ** tries) * (0.5 + Math.random());
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, wait);
    window.addEventListener("online", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

async function persist(send, onTrouble) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await send();
    } catch (error) {
      if (error instanceof Refused || tries + 1 >= TRIES) throw error;
      onTrouble?.(`${error.message} Trying again …`);
      await pause(tries);
    }
  }
}

// ---- sending

function rowOf(item) {
  if (item.row) return item.row;
  const row = at("rows").insertRow(0); // what moves now is on top
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = item.name;
  row.append(name);
  const bar = document.createElement("progress");
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", `Progress of ${item.name}`);
  row.insertCell().append(bar);
  item.words = row.insertCell();
  item.bar = bar;
  item.row = row;
  row.item = item;
  thin();
  return row;
}

function say(item, words, state) {
  tally(item, -1);
  item.state = state;
  tally(item, 1);
  rowOf(item).className = { failed: "failed", sending: "moving" }[state] ?? "";
  item.words.textContent = words;
}

function tally(item, by) {
  if (item.state === "sent") { count.sent += by; count.sentBytes += by * item.file.size; }
  if (item.state === "failed") count.failed += by;
}

const tell = {
  progress(item, bytes) {
    if (item.state === "waiting") say(item, "sending", "sending");
    item.moved = bytes;
    item.bar.value = item.file.size ? bytes / item.file.size : 1;
    if (item.words.textContent !== "sending") say(item, "sending", "sending");
    lineWords("");
    showTotal();
  },
  arrived(item, { outcome, message }) {
    say(item, message ? `${outcome}: ${message}` : outcome, "sent");
    item.bar.value = 1;
    lineWords("");
    showTotal();
  },
  broken(item, words) {
    if (item) say(item, `${words} Trying again …`, "sending");
    lineWords(`${words} What arrived is kept; sending goes on by itself.`);
  },
  refused(item, words, status) {
    say(item, words, "failed");
    if (status) trouble(words);
    showTotal();
  },
};

function lineWords(words) {
  if (at("line").textContent !== words) at("line").textContent = words;
}

function showTotal() {
  if (drawn) return;
  drawn = true;
  setTimeout(() => { drawn = false; drawTotal(); }, 100);
}

function drawTotal() {
  const moving = [...document.querySelectorAll("#rows tr.moving")].reduce((sum, row) => sum + row.item.moved, 0);
  at("total").max = Math.max(1, count.bytes);
  at("total").value = count.sentBytes + moving;
  at("total-text").textContent = `${count.sent} of ${files.size} files arrived${count.failed ? `, ${count.failed} not sent` : ""}`;
  at("total-bytes").textContent = `${megabytes(count.sentBytes + moving)} of ${megabytes(count.bytes)} MB`;
  at("again").hidden = sending || !count.failed;
  at("pause").hidden = !sending;
}

// The upload's page lists every file; here the latest, and all that are on their way or did not go.
function thin() {
  const rows = at("rows").rows;
  if (rows.length <= ROWS) return;
  const gone = [...rows].slice(ROWS).filter((row) => row.item.state === "sent");
  for (const row of gone) { row.item.row = null; row.remove(); }
  at("older").textContent = `${count.sent} files arrived; the latest are shown. The upload's page lists them all.`;
}

function trouble(words) {
  at("trouble").textContent = words;
  at("trouble").hidden = !words;
}

async function sendTable() {
  const body = new FormData();
  body.append("table", table);
  try {
    const said = await persist(() => post(addresses.table, body), trouble);
    remarks([...said.notices, ...said.errors.map(({ row, message }) => `Row ${row}: ${message}`)]);
    trouble("");
  } catch (error) {
    remarks([`The table was not used. ${error.message}`]);
    return false;
  }
  table = null;
  return true;
}

function remarks(lines) {
  const list = at("table-remarks");
  list.replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  list.hidden = !lines.length;
}

async function begin() {
  if (addresses) return;
  if (goOn && at("go-on").checked) {
    addresses = goOn;
    return;
  }
  const body = new FormData(form);
  body.set("expected", files.size);
  addresses = await persist(() => post(form.action, body), trouble);
  addresses.fresh = true;
}

// What the portal has of this upload already is not sent again; what it has in part goes on where it stopped.
async function recognise() {
  if (addresses.fresh) {
    addresses.fresh = false;
    return;
  }
  const { whole, part } = await heldBy(addresses);
  for (const item of files.values()) {
    const known = item.state !== "sent" && whole.get(item.name);
    if (known && known.size === item.file.size) tell.arrived(item, { outcome: known.outcome, message: known.message || "it was here already" });
    item.address = part.get(`${item.name} ${markOf(item.file)}`) ?? null;
  }
}

async function heldBy({ held }) {
  const said = await persist(() => get(held), trouble);
  const whole = new Map(said.files.map((file) => [file.name, file]));
  return { whole, part: new Map(said.partial.map(({ name, mark, address }) => [`${name} ${mark}`, address])) };
}

// An open upload of one's own that holds some of what was chosen: sending goes on with it, unless the person says otherwise.
async function seekOpen() {
  if (addresses || sending || !openUploads.length) return;
  const site = form.querySelector("[name=site]").value;
  let best = null;
  for (const upload of openUploads.filter((open) => String(open.site) === site)) {
    try {
      upload.known ??= await heldBy(upload);
    } catch {
      continue;
    }
    const { whole, part } = upload.known;
    const here = [...files.values()].filter(({ name, file }) => whole.get(name)?.size === file.size || part.has(`${name} ${markOf(file)}`));
    if (here.length && here.length > (best?.here ?? 0)) best = { upload, here: here.length };
  }
  goOn = best?.upload ?? null;
  at("resume").hidden = !best;
  if (best) at("resume-text").textContent = `Go on with upload ${best.upload.upload} of ${best.upload.opened}, which is open and has ${best.here} of these files already`;
}

async function sendAll() {
  sending = true;
  at("sending").hidden = false;
  at("start").disabled = true;
  trouble("");
  try {
    await begin();
    await recognise();
    const tableUsed = table ? await sendTable() : true;
    line ??= new Line(addresses.tus, token, tell);
    const waiting = [...files.values()].filter(({ state }) => state !== "sent");
    for (const item of waiting) { tally(item, -1); item.state = "waiting"; }
    showTotal();
    if (waiting.length) await line.send(waiting);
    if (count.sent === files.size) await finish(tableUsed);
  } catch (error) {
    trouble(error.message);
  }
  sending = false;
  lineWords("");
  showTotal();
  showChosen();
}

function pauseOrResume() {
  paused = !paused;
  at("pause").textContent = paused ? "Resume" : "Pause";
  if (paused) line?.pause();
  else line?.resume();
  lineWords(paused ? "Paused. What arrived is kept, also when you close this page." : "");
}

async function finish(tableUsed) {
  const { page } = await persist(() => post(addresses.close, new FormData()), trouble);
  sending = false;
  if (tableUsed) return location.assign(page);
  const link = Object.assign(document.createElement("a"), { href: page, textContent: "Open the upload, where a corrected table can be sent" });
  at("trouble").replaceChildren("All files arrived, but the table was not used. ", link, ".");
  at("trouble").hidden = false;
}

// ---- wiring

for (const id of ["files", "folder", "table"]) {
  const input = at(id);
  const take = () => { if (input.files.length) add(input.files); input.value = ""; };
  input.addEventListener("change", take);
  take(); // chosen while this script was still on its way
}
const drop = at("drop");
for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); dropped(event.dataTransfer); });
form.addEventListener("submit", (event) => { event.preventDefault(); if (!sending) sendAll(); });
at("again").addEventListener("click", () => sendAll());
at("pause").addEventListener("click", () => pauseOrResume());
form.querySelector("[name=site]")?.addEventListener("change", () => seekOpen());
window.addEventListener("beforeunload", (event) => { if (sending) event.preventDefault(); });
showChosen();
