// Asks the server, and keeps what is marked: there at every change, and in this browser while the line or the login is away.
const KEPT = "winnow.draft.";
const PAUSE = 400;
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
  let sending = null;

  function here(token) { return KEPT + token; }
  function tidy() {
    for (const name of Object.keys(localStorage).filter((key) => key.startsWith(KEPT))) {
      if (Date.now() - (JSON.parse(localStorage.getItem(name) || "{}").at || 0) > OLDEST) localStorage.removeItem(name);
    }
  }
  function keepHere() {
    localStorage.setItem(here(form.elements.token.value), JSON.stringify({ at: Date.now(), marked: fields() }));
  }
  async function send() {
    const token = form.elements.token.value;
    sending = ask(address, new FormData(form), form);
    const { status } = await sending;
    if (token !== form.elements.token.value) return;
    if (status === 200) localStorage.removeItem(here(token));
    else keepHere();
    saved.textContent = status === 200 ? "Kept." : "Kept in this browser until the line is back.";
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
    async stop() { clearTimeout(timer); await sending; },
    forget(token) { localStorage.removeItem(here(token)); saved.textContent = ""; },
    found: (token) => JSON.parse(localStorage.getItem(here(token)) || "null")?.marked,
  };
}
