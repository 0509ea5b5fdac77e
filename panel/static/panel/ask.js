/* The page of one RAG tool. */

import { AnswerView, PassageDialog } from "../magnet/answer.js";

const root = document.querySelector("#ask");
const form = root.querySelector("form");
const box = form.elements.question;
const send = form.querySelector(".send");
const stop = form.querySelector(".stop");
const answers = root.querySelector(".answers");
const dialog = new PassageDialog(document.querySelector("#passage"), { documentUrl: root.dataset.documentUrl });
let current = null;

async function ask(question) {
  if (current || !question) return;
  current = new AnswerView({ question, dialog });
  answers.prepend(current.article);
  root.classList.add("has-answers");
  send.hidden = true;
  stop.hidden = false;
  stop.disabled = false;
  box.value = "";
  grow();
  await current.run({
    url: root.dataset.url,
    body: { question },
    workspace: root.dataset.workspace,
    csrf: root.dataset.csrf,
  });
  if (current.article.classList.contains("is-failed")) box.value = box.value || question;
  current = null;
  const stopping = document.activeElement === stop;
  send.hidden = false;
  stop.hidden = true;
  if (stopping || document.activeElement === document.body) box.focus({ preventScroll: true });
}

function grow() {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight + 2, 240)}px`;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask(box.value.trim());
});
box.addEventListener("input", grow);
box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
stop.addEventListener("click", () => {
  stop.disabled = true;
  current?.stop();
});
for (const sample of root.querySelectorAll("[data-question]")) {
  sample.addEventListener("click", () => ask(sample.dataset.question));
}
box.focus({ preventScroll: true });
