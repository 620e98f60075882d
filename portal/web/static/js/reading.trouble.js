// Why an answer was not taken, what has become of it, and what to do: in words, above the picture.
const WORDS = {
  0: "The line is away. Your answer is kept in this browser and sent as soon as the line is back.",
  401: "Your login has expired. Your answer is kept in this browser: log in, come back to this page, and it is sent.",
  500: "Something broke on our side. Your answer is kept in this browser. Send it again in a moment.",
};

export function makeTrouble({ place, login, again, next }) {
  let waiting = false;

  function show(text, ...parts) {
    place.replaceChildren(text, " ", ...parts);
    place.hidden = false;
    place.querySelector("button, a")?.focus();
  }
  function button(text, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "btn";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }
  function link() {
    const made = document.createElement("a");
    Object.assign(made, { href: login, target: "_blank", rel: "noopener", className: "btn", textContent: "Log in in a new tab" });
    return made;
  }
  function retry() { if (waiting) again(); }
  window.addEventListener("online", retry);
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && retry());

  return {
    clear() { waiting = false; place.hidden = true; place.replaceChildren(); },
    // the answer is not in, and may still be
    waits(status) {
      const known = WORDS[status] ? status : 500;
      show(WORDS[known], ...(known === 401 ? [link(), " "] : []), button("Send again", again));
      waiting = true;
    },
    // the answer is not in, and will not be
    over(message) {
      waiting = false;
      show(message, button("Next picture", next));
    },
    tell(message) { show(message); },
  };
}
