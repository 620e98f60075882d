// Sends many files, three at a time, over lines that break: every file is tried again with growing pauses, and what arrived is never
// counted twice (the server knows a file by its content and its name).
const PARALLEL = 3;
const TRIES = 8;
const STALLED = 60_000;
const TABLE = /\.(csv|tsv|txt|xlsx)$/i;
const NOT_MEANT = /(^|\/)(\.|Thumbs\.db$|desktop\.ini$|__MACOSX\/)/i;

const form = document.getElementById("sender");
const at = (id) => document.getElementById(id);
const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
const limits = { file: Number(form.dataset.maxBytes), archive: Number(form.dataset.maxArchiveBytes) };
const files = new Map();
let table = null;
let skipped = 0;
let addresses = form.dataset.addresses ? JSON.parse(at(form.dataset.addresses).textContent) : null;
let sending = false;

// ---- choosing

function add(list) {
  const named = [...list].map((file) => ({ file, name: file.path ?? (file.webkitRelativePath || file.name) }));
  const tops = new Set(named.map(({ name }) => (name.includes("/") ? name.split("/")[0] : "")));
  const top = tops.size === 1 && !tops.has("") ? [...tops][0].length + 1 : 0;
  for (const { file, name } of named) {
    const shown = name.slice(top);
    if (NOT_MEANT.test(shown)) skipped += 1;
    else if (TABLE.test(shown)) table = file;
    else files.set(shown, { file, name: shown, state: "waiting", tries: 0 });
  }
  showChosen();
}

function showChosen() {
  const megabytes = [...files.values()].reduce((sum, { file }) => sum + file.size, 0) / 1e6;
  const words = [`${files.size} file${files.size === 1 ? "" : "s"} chosen (${megabytes.toFixed(1)} MB)`];
  if (table) words.push(`table ${table.name}`);
  if (skipped) words.push(`${skipped} hidden file${skipped === 1 ? "" : "s"} left out`);
  at("chosen").textContent = words.join(" · ") + ".";
  at("start").disabled = sending || !(files.size || table);
}

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

function post(url, body, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let watch = 0;
    const alive = () => { clearTimeout(watch); watch = setTimeout(() => request.abort(), STALLED); };
    request.open("POST", url);
    request.setRequestHeader("X-CSRFToken", token);
    request.setRequestHeader("Accept", "application/json");
    request.upload.onprogress = (event) => { alive(); onProgress?.(event.loaded / (event.total || 1)); };
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
  const row = at("rows").insertRow();
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
  return row;
}

function say(item, words, state) {
  rowOf(item).className = state === "failed" ? "failed" : "";
  item.state = state;
  item.words.textContent = words;
}

async function sendFile(item) {
  say(item, "sending", "sending");
  const url = `${addresses.files}?name=${encodeURIComponent(item.name)}`;
  // a file over the limit is refused by the server: one byte over is enough to show it
  const limit = /\.zip$/i.test(item.name) ? limits.archive : limits.file;
  const body = item.file.size > limit ? item.file.slice(0, limit + 1) : item.file;
  try {
    const said = await persist(() => post(url, body, (share) => { item.bar.value = share; }), (words) => { item.words.textContent = words; });
    item.bar.value = 1;
    say(item, said.message ? `${said.outcome}: ${said.message}` : said.outcome, "sent");
  } catch (error) {
    say(item, error.message, "failed");
    if (error instanceof Refused) trouble(error.message);
  }
  showTotal();
}

function showTotal() {
  const all = [...files.values()];
  const sent = all.filter(({ state }) => state === "sent").length;
  const failed = all.filter(({ state }) => state === "failed").length;
  at("total").max = Math.max(1, all.length);
  at("total").value = sent;
  at("total-text").textContent = `${sent} of ${all.length} files arrived${failed ? `, ${failed} not sent` : ""}`;
  at("again").hidden = sending || !failed;
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
  const body = new FormData(form);
  body.set("expected", files.size);
  addresses = await persist(() => post(form.action, body), trouble);
}

async function sendAll() {
  sending = true;
  at("sending").hidden = false;
  at("start").disabled = true;
  trouble("");
  try {
    await begin();
    const tableUsed = table ? await sendTable() : true;
    const queue = [...files.values()].filter(({ state }) => state !== "sent");
    showTotal();
    await Promise.all(Array.from({ length: PARALLEL }, async () => {
      for (let item = queue.shift(); item; item = queue.shift()) await sendFile(item);
    }));
    if ([...files.values()].every(({ state }) => state === "sent")) await finish(tableUsed);
  } catch (error) {
    trouble(error.message);
  }
  sending = false;
  showTotal();
  showChosen();
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
  at(id).addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
}
const drop = at("drop");
for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); dropped(event.dataTransfer); });
form.addEventListener("submit", (event) => { event.preventDefault(); if (!sending) sendAll(); });
at("again").addEventListener("click", () => sendAll());
window.addEventListener("beforeunload", (event) => { if (sending) event.preventDefault(); });
showChosen();
