// Asks the server, and keeps what is marked: there at every change, and in this browser while the line or the login is away.
const KEPT = "winnow.draft.";
const PAUSE = 400;
const WHERE = {
  200: "Kept.", 0: "Kept in this browser until the line is back.", 401: "Kept in this browser: your login has expired.",
};
const OLDEST = 24 * 3600 * 1000;

// Chromium's cookie is the newest: logging in again in another tab changes it
function csrf(form) {
  return document.cookie.match(/csrftoken=([^;]+)/)?.[1] || form.elements.csrfmiddlewaretoken.value;
}

// {status, said}; status 0: no answer came
export async function ask(address, fields, form) {
  try {
    const answer = await fetch(address, { method: "POST", body: fields, headers: { Accept: "application/json", "X-CSRFToken": csrf(form) } });
    return { status: answer.status, said: await answer.json().catch(() => ({ code: "broken", message: "" })) };
  } catch {
    return { status: 0, said: { code: "line", message: "" } };
  }
}

export function makeDrafts({ form, address, saved, fields }) {
  let timer = null;
  // one after the other: an older one must not overwrite a newer, nor come after the answer
  let sending = Promise.resolve();

  function here(token) { return KEPT + token; }
  function tidy() {
    for (const name of Object.keys(localStorage).filter((key) => key.startsWith(KEPT))) {
      if (Date.now() - (JSON.parse(localStorage.getItem(name) || "{}").at || 0) > OLDEST) localStorage.removeItem(name);
    }
  }
  function keepHere() {
    localStorage.setItem(here(form.elements.token.value), JSON.stringify({ at: Date.now(), marked: fields() }));
  }
  function send() {
    // also when it is not the timer that asks: left running, it would keep the next picture's empty form
    clearTimeout(timer);
    timer = null;
    // a page that has no place for drafts keeps none: an answer that is amended is looked at for a short while alone
    if (address) sending = sending.then(sent);
    return sending;
  }
  async function sent() {
    const token = form.elements.token.value;
    const { status } = await ask(address, new FormData(form), form);
    if (token !== form.elements.token.value) return;
    if (status === 200) localStorage.removeItem(here(token));
    else keepHere();
    saved.textContent = WHERE[status] || "Kept in this browser.";
  }
  function changed() {
    saved.textContent = "";
    clearTimeout(timer);
    timer = setTimeout(send, PAUSE);
  }
  window.addEventListener("online", () => localStorage.getItem(here(form.elements.token.value)) && send());
  tidy();
  return {
    changed, keepHere,
    // before the answer itself goes: no draft may come after it
    async stop() { clearTimeout(timer); timer = null; await sending; },
    // before another picture comes: what was marked last is kept with this one
    async flush() {
      const waits = timer !== null;
      clearTimeout(timer);
      await (waits ? send() : sending);
    },
    forget(token) { localStorage.removeItem(here(token)); saved.textContent = ""; },
    found: (token) => JSON.parse(localStorage.getItem(here(token)) || "null")?.marked,
  };
}
