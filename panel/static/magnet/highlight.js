/* Marks {{ variables }} behind the text of a prompt's messages while they are written. */
"use strict";

(() => {
  const PLACEHOLDER = /(\{\{\s*[a-z][a-z0-9_]*\s*\}\})/;

  function light(box) {
    const text = box.querySelector("textarea");
    const behind = document.createElement("div");
    behind.className = "mg-behind";
    behind.setAttribute("aria-hidden", "true");
    box.prepend(behind);
    const draw = () => {
      behind.replaceChildren(
        ...text.value.split(PLACEHOLDER).map((part, at) => {
          const node = document.createElement(at % 2 ? "mark" : "span");
          node.textContent = part;
          return node;
        }),
        "\n",
      );
      behind.scrollTop = text.scrollTop;
    };
    text.addEventListener("input", draw);
    text.addEventListener("scroll", draw);
    draw();
  }

  addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-lit]").forEach(light));
})();
