// What is wrong with the page as it stands: a list of sentences, empty when all is well.
// Checks what can be measured of WCAG 2.2 AA and of our own rules for a phone.
() => {
  const faults = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const shown = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const seen = (element) => {
    // Not shown only to screen readers.
    const box = element.getBoundingClientRect();
    return shown(element) && box.width > 1 && box.height > 1;
  };
  const named = (element) => {
    const words = element.getAttribute("aria-label") || element.title || "";
    const ids = (element.getAttribute("aria-labelledby") || "").split(/\s+/);
    const referred = ids.map((id) => document.getElementById(id)?.textContent || "");
    return words.trim() || referred.join("").trim();
  };
  const say = (element) => {
    const copy = element.cloneNode(false).outerHTML.slice(0, 120);
    return `${copy} “${element.textContent.trim().replace(/\s+/g, " ").slice(0, 40)}”`;
  };

  const over = document.documentElement.scrollWidth - window.innerWidth;
  if (over > 0) {
    const widest = all("main *, header *, footer *")
      .filter((e) => shown(e) && e.getBoundingClientRect().right > window.innerWidth + 1)
      .slice(0, 3)
      .map(say);
    faults.push(`${over} px too wide: ${widest.join(" / ")}`);
  }

  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title.trim()) faults.push("no title");
  if (all("main").length !== 1) faults.push("not one <main>");
  const heads = all("h1, h2, h3, h4, h5, h6").filter(shown);
  const tops = heads.filter((head) => head.tagName === "H1");
  if (tops.length !== 1) faults.push(`${tops.length} first headings`);
  heads.reduce((above, head) => {
    const level = Number(head.tagName[1]);
    if (level > above + 1) faults.push(`heading skips a level: ${say(head)}`);
    return level;
  }, 0);

  const counts = Map.groupBy(all("[id]"), (element) => element.id);
  for (const [id, owners] of counts) {
    if (owners.length > 1) faults.push(`id twice: ${id}`);
  }
  for (const label of all("label[for]")) {
    if (!document.getElementById(label.htmlFor)) faults.push(`label of nothing: ${say(label)}`);
  }
  for (const element of all("[aria-describedby], [aria-labelledby], [aria-controls]")) {
    for (const name of ["aria-describedby", "aria-labelledby", "aria-controls"]) {
      for (const id of (element.getAttribute(name) || "").split(/\s+/).filter(Boolean)) {
        if (!document.getElementById(id)) faults.push(`${name} of nothing: ${say(element)}`);
      }
    }
  }

  for (const field of all("input:not([type=hidden]), select, textarea")) {
    if (!shown(field)) continue;
    if (["submit", "button"].includes(field.type) && field.value) continue;
    const labelled = [...(field.labels || [])].some((label) => label.textContent.trim());
    if (!labelled && !named(field)) faults.push(`no label: ${say(field)}`);
  }
  for (const element of all("button, a[href], summary, [role=button]")) {
    if (!shown(element)) continue;
    const words =
      element.textContent.trim() ||
      named(element) ||
      element.querySelector("img[alt]:not([alt='']), svg[aria-label]");
    if (!words) faults.push(`no name: ${say(element)}`);
  }
  for (const image of all("img:not([alt])")) faults.push(`no alt: ${say(image)}`);
  for (const element of all("svg[role=img], canvas, progress, meter, audio, nav")) {
    if (!shown(element) || element.closest("[aria-hidden=true]")) continue;
    const labelled = [...(element.labels || [])].length > 0;
    const told = element.textContent.trim() && element.tagName !== "NAV";
    if (!named(element) && !labelled && !told) faults.push(`no name: ${say(element)}`);
  }

  // Targets of 44 px, but for links within a sentence and boxes inside their labels.
  for (const element of all("button, a[href], summary, input, select, textarea")) {
    if (!seen(element) || element.type === "hidden" || element.disabled) continue;
    if (element.matches(".skip-link")) continue;
    if (element.tagName === "A" && getComputedStyle(element).display === "inline") continue;
    const label = ["checkbox", "radio"].includes(element.type) ? element.labels[0] : null;
    const { height, width } = (label || element).getBoundingClientRect();
    if (height < 43.5 || width < 43.5) {
      faults.push(`target of ${Math.round(width)} × ${Math.round(height)} px: ${say(element)}`);
    }
  }

  // Copy does not shout. A prompt may ask for it, and a prompter shows what is asked.
  const copy = document.body.cloneNode(true);
  for (const element of copy.querySelectorAll("script, [data-prompt], .script-list")) {
    element.remove();
  }
  if (copy.textContent.includes("!")) faults.push("an exclamation mark");
  return faults;
}
