// The effect rack: a slider beside every number, and the equaliser's curve drawn as
// its bands are turned. Numbers alone, and a Save button, are what works without it.

const TRAVEL = 1000; // positions of a slider

const limits = (input) => ({
  minimum: Number(input.min),
  maximum: Number(input.max),
  isLog: input.dataset.scale === "log",
});

export function toPosition(value, { minimum, maximum, isLog }) {
  const inside = Math.min(Math.max(value, minimum), maximum);
  const share = isLog
    ? Math.log(inside / minimum) / Math.log(maximum / minimum)
    : (inside - minimum) / (maximum - minimum);
  return Math.round(TRAVEL * share);
}

export function toValue(position, { minimum, maximum, isLog }, step) {
  const share = position / TRAVEL;
  const exact = isLog
    ? minimum * (maximum / minimum) ** share
    : minimum + (maximum - minimum) * share;
  // Three digits are as fine as anybody hears a frequency or a time.
  const rounded = isLog
    ? Number(exact.toPrecision(3))
    : minimum + Math.round((exact - minimum) / step) * step;
  return Number(Math.min(Math.max(rounded, minimum), maximum).toFixed(3));
}

function readyKnob(input) {
  const range = document.createElement("input");
  const label = input.labels[0]?.textContent ?? "";
  const group = input.closest("fieldset")?.querySelector("legend")?.textContent ?? "";
  range.type = "range";
  range.className = "knob-range";
  range.min = 0;
  range.max = TRAVEL;
  range.step = 5;
  range.setAttribute("aria-label", `${group} ${label}`.trim());

  const show = () => {
    if (input.value === "" || Number.isNaN(input.valueAsNumber)) return;
    range.value = toPosition(input.valueAsNumber, limits(input));
    range.setAttribute("aria-valuetext", `${input.value} ${input.dataset.unit}`.trim());
  };
  const turn = (value) => {
    input.value = value;
    range.setAttribute("aria-valuetext", `${value} ${input.dataset.unit}`.trim());
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };
  range.addEventListener("input", (event) => {
    event.stopPropagation();
    turn(toValue(Number(range.value), limits(input), Number(input.dataset.step)));
  });
  range.addEventListener("dblclick", () => {
    turn(input.dataset.default);
    show();
    range.dispatchEvent(new Event("change", { bubbles: true }));
  });
  input.addEventListener("change", show);
  input.addEventListener("input", () => {
    if (document.activeElement !== range) show();
  });
  show();
  input.closest(".knob").append(range);
}

// A delay has one time in milliseconds and one in beats: show the one that counts.
function readyConditions(form) {
  const apply = () => {
    for (const field of form.querySelectorAll("[data-only-when]")) {
      const [name, value] = field.dataset.onlyWhen.split("=");
      const choice = form.querySelector(`[data-parameter="${name}"]`);
      field.hidden = choice.value !== value;
    }
  };
  form.addEventListener("change", apply);
  apply();
}

// --- the equaliser's curve (R. Bristow-Johnson's cookbook, as the renderer's filters)

const SAMPLE_RATE_HZ = 44100;
const WIDTH = 600;
const HEIGHT = 180;
const RANGE_DB = 24;
const LOWEST_HZ = 20;
const HIGHEST_HZ = 20000;

export function biquad(kind, { frequency_hz, gain_db, q }) {
  const a = 10 ** (gain_db / 40);
  const omega = (2 * Math.PI * frequency_hz) / SAMPLE_RATE_HZ;
  const cos = Math.cos(omega);
  const alpha = Math.sin(omega) / (2 * q);
  if (kind === "mid") {
    return {
      b: [1 + alpha * a, -2 * cos, 1 - alpha * a],
      a: [1 + alpha / a, -2 * cos, 1 - alpha / a],
    };
  }
  const beta = 2 * Math.sqrt(a) * alpha;
  const sign = kind === "low" ? 1 : -1;
  const plus = a + 1;
  const minus = a - 1;
  return {
    b: [
      a * (plus - sign * minus * cos + beta),
      sign * 2 * a * (minus - sign * plus * cos),
      a * (plus - sign * minus * cos - beta),
    ],
    a: [
      plus + sign * minus * cos + beta,
      -sign * 2 * (minus + sign * plus * cos),
      plus + sign * minus * cos - beta,
    ],
  };
}

export function gainDb({ b, a }, hz) {
  const omega = (2 * Math.PI * hz) / SAMPLE_RATE_HZ;
  const power = ([c0, c1, c2]) => {
    const re = c0 + c1 * Math.cos(omega) + c2 * Math.cos(2 * omega);
    const im = c1 * Math.sin(omega) + c2 * Math.sin(2 * omega);
    return re * re + im * im;
  };
  return 10 * Math.log10(power(b) / power(a));
}

const atX = (x) => LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** (x / WIDTH);
const xOf = (hz) => (WIDTH * Math.log(hz / LOWEST_HZ)) / Math.log(HIGHEST_HZ / LOWEST_HZ);
const yOf = (db) => HEIGHT / 2 - (db / RANGE_DB) * (HEIGHT / 2);

function svg(name, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

function readyCurve(curve, form) {
  for (const [hz, label] of [[100, "100 Hz"], [1000, "1 kHz"], [10000, "10 kHz"]]) {
    curve.append(svg("path", { class: "eq-grid", d: `M${xOf(hz)} 0V${HEIGHT}` }));
    curve.append(svg("text", { x: xOf(hz) + 4, y: HEIGHT - 6 }, label));
  }
  for (const db of [-12, 0, 12]) {
    const line = svg("path", { class: "eq-grid", d: `M0 ${yOf(db)}H${WIDTH}` });
    if (db === 0) line.classList.add("eq-zero");
    curve.append(line);
    curve.append(svg("text", { x: 4, y: yOf(db) - 4 }, `${db > 0 ? "+" : ""}${db} dB`));
  }
  const line = svg("path", { class: "eq-line" });
  curve.append(line);

  const value = (name) => form.querySelector(`[data-parameter="${name}"]`).valueAsNumber;
  const draw = () => {
    const filters = ["low", "mid", "high"].map((band) =>
      biquad(band, {
        frequency_hz: value(`${band}_frequency_hz`),
        gain_db: value(`${band}_gain_db`),
        q: value(`${band}_q`),
      }),
    );
    const points = [];
    for (let x = 0; x <= WIDTH; x += 3) {
      const db = filters.reduce((sum, filter) => sum + gainDb(filter, atX(x)), 0);
      if (!Number.isFinite(db)) return; // a field is empty: keep the last curve
      points.push(`${x} ${yOf(Math.min(Math.max(db, -RANGE_DB), RANGE_DB)).toFixed(1)}`);
    }
    line.setAttribute("d", `M${points.join("L")}`);
  };
  form.addEventListener("input", draw);
  form.addEventListener("change", draw);
  curve.removeAttribute("hidden");
  draw();
}

function readyRack(root) {
  for (const form of root.querySelectorAll("[data-settings]:not([data-ready])")) {
    form.dataset.ready = "";
    for (const input of form.querySelectorAll("[data-knob]")) readyKnob(input);
    for (const curve of form.querySelectorAll("[data-eq-curve]")) readyCurve(curve, form);
    for (const button of form.querySelectorAll("[data-without-script]")) button.hidden = true;
    readyConditions(form);
  }
}

if (globalThis.document) {
  readyRack(document);
  document.addEventListener("htmx:load", (event) => readyRack(event.target.parentNode));
  // A step just removed took the focus with it.
  document.addEventListener("htmx:afterSettle", (event) => {
    if (document.activeElement === document.body && event.target.id === "rack") {
      document.querySelector("#rack").focus();
    }
  });
}
