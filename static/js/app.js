// What every page shares: menus that close, notices that go, waveforms that follow
// and move the sound they belong to. Pages work without it.

function closeMenus(except = null) {
  for (const menu of document.querySelectorAll("[data-menu][open]")) {
    if (menu !== except) menu.open = false;
  }
}

document.addEventListener("click", (event) => {
  closeMenus(event.target.closest("[data-menu]"));
  const dismiss = event.target.closest("[data-dismiss]");
  if (dismiss) dismiss.closest("[data-notice]").remove();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = event.target.closest?.("[data-menu][open]");
  closeMenus();
  menu?.querySelector("summary").focus();
});

function readyPlayer(player) {
  const audio = player.querySelector("audio");
  const waveform = player.querySelector(".waveform");
  if (!audio || !waveform || player.dataset.ready !== undefined) return;
  player.dataset.ready = "";

  const played = waveform.querySelector("path").cloneNode();
  played.classList.add("waveform-played");
  waveform.append(played);

  const show = () => {
    player.dataset.started = "";
    const share = audio.duration ? audio.currentTime / audio.duration : 0;
    played.style.setProperty("--played", `${100 * share}%`);
  };
  const follow = () => {
    show();
    if (!audio.paused) requestAnimationFrame(follow);
  };
  audio.addEventListener("play", follow);
  audio.addEventListener("seeked", show);
  audio.addEventListener("ended", show);

  // The native controls seek by keyboard; the waveform is a larger handle for a pointer.
  waveform.addEventListener("click", (event) => {
    const box = waveform.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    const seek = () => {
      audio.currentTime = share * audio.duration;
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

  // One sound at a time.
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) {
      if (other !== audio) other.pause();
    }
  });
}

function readyPage(root) {
  for (const player of root.querySelectorAll("[data-player]")) readyPlayer(player);
  for (const button of root.querySelectorAll("[data-dismiss]")) button.hidden = false;
}

readyPage(document);
document.addEventListener("htmx:load", (event) => readyPage(event.target));
