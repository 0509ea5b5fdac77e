/* What every page of the admin does: the workspace switcher submits itself; running work refreshes in place. */
"use strict";

(() => {
  const REFRESH_MS = 3000;
  let timer = null;

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
  });

  function replace(fresh, selector) {
    const old = document.querySelector(selector);
    const next = fresh.querySelector(selector);
    if (old && next && !old.contains(document.activeElement)) old.replaceWith(document.adoptNode(next));
  }

  /** Replaces each part marked data-live by its fresh state, as long as it says that work is going on. */
  async function refresh() {
    clearTimeout(timer);
    const live = [...document.querySelectorAll("[data-live='on']")];
    if (!live.length) return;
    if (!document.hidden) {
      try {
        const response = await fetch(location.href, { credentials: "same-origin" });
        if (response.ok) {
          const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
          for (const part of live) {
            if (part.dataset.liveTarget) replace(fresh, part.dataset.liveTarget);
            replace(fresh, `#${part.id}`);
          }
        }
      } catch {
        // The next round tries again.
      }
    }
    timer = setTimeout(refresh, REFRESH_MS);
  }

  addEventListener("magnet:refresh", refresh);
  addEventListener("DOMContentLoaded", () => {
    timer = setTimeout(refresh, REFRESH_MS);
  });
})();
