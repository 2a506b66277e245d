// The song page: faders that say their level, and words that follow and move the take.
// The page works without it.

/** Levels are in dB; amounts are shares of the usual and shown in percent. */
function showLevel(fader) {
  const output = document.querySelector(`output[for="${fader.id}"]`);
  if (!output) return;
  const value = Number(fader.value);
  output.textContent = fader.name.endsWith("_db")
    ? `${value.toFixed(1).replace("-", "\u2212")} dB`
    : `${Math.round(100 * value)} %`;
}

document.addEventListener("input", (event) => {
  if (event.target.matches('#song-form input[type="range"]')) showLevel(event.target);
});

function markLine(list, seconds) {
  for (const button of list.querySelectorAll("[data-from]")) {
    const isNow =
      seconds >= Number(button.dataset.from) && seconds < Number(button.dataset.to);
    if (isNow) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

function readyLines(list) {
  const audio = list.closest("article")?.querySelector("audio");
  if (!audio || list.dataset.ready !== undefined) return;
  list.dataset.ready = "";
  audio.addEventListener("timeupdate", () => markLine(list, audio.currentTime));
  list.addEventListener("click", (event) => {
    const button = event.target.closest("[data-from]");
    if (!button) return;
    const seek = () => {
      audio.currentTime = Number(button.dataset.from);
      audio.play();
    };
    if (audio.readyState >= HTMLMediaElement.HAVE_METADATA) {
      seek();
    } else {
      audio.addEventListener("loadedmetadata", seek, { once: true });
      audio.preload = "metadata";
      audio.load();
    }
  });
}

function readyPage(root) {
  for (const list of root.querySelectorAll("[data-lines]")) readyLines(list);
}

readyPage(document);
document.addEventListener("htmx:load", (event) => readyPage(event.target));
