// Messages: one notice per pane (announced at once), and a quiet status line for screen readers.

const PANES = ["listen", "speak"];

/** Shows a Problem in a pane, with an optional button. */
export function showProblem(pane, problem, action) {
  const notice = document.getElementById(`${pane}-notice`);
  const words = document.createElement("p");
  words.className = "words";
  const strong = document.createElement("strong");
  strong.textContent = problem.message;
  words.append(strong);
  if (problem.detail) {
    const detail = document.createElement("span");
    detail.textContent = ` ${problem.detail}`;
    words.append(detail);
  }
  notice.replaceChildren(words);
  if (action) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = action.label;
    button.addEventListener("click", action.run);
    notice.append(button);
  }
  notice.dataset.kind = problem.kind;
  notice.classList.toggle("mild", ["away", "busy", "reconnecting"].includes(problem.kind));
  notice.hidden = false;
}

export function clearProblem(pane) {
  const notice = document.getElementById(`${pane}-notice`);
  notice.hidden = true;
  notice.replaceChildren();
  delete notice.dataset.kind;
}

/** Takes away, from every pane, messages of these kinds (the key was changed, the server is back). */
export function clearKinds(...kinds) {
  for (const pane of PANES) {
    if (kinds.includes(document.getElementById(`${pane}-notice`).dataset.kind)) clearProblem(pane);
  }
}

/** Tells a screen reader when it is idle; shows nothing. */
export function tell(sentence) {
  document.getElementById("said").textContent = sentence;
}
