// One take on its way to the server: ticket, start, chunks in order, finish. What is
// lost on the way is sent again while the ticket lives; the server's word is final.

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;

export class TakeError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** The CSRF token, as the page gives it to htmx. */
function csrfToken() {
  return JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
}

/** POST; resolves to {status, body}. Throws TypeError when the network does. */
export async function post(url, body, headers = {}) {
  const isSound = body instanceof ArrayBuffer || ArrayBuffer.isView(body);
  const response = await fetch(url, {
    method: "POST",
    credentials: "same-origin",
    headers: {
      "Content-Type": isSound ? "application/octet-stream" : "application/json",
      "X-CSRFToken": csrfToken(),
      ...headers,
    },
    body: isSound ? body : JSON.stringify(body),
  });
  const isJson = response.headers.get("Content-Type")?.includes("json");
  return { status: response.status, body: isJson ? await response.json() : {} };
}

/** What the server said no to, in its own words or, where it has none, in ours. */
export function refusal({ status, body }) {
  if (body.code) return new TakeError(body.code, body.detail);
  if (status === 401 || status === 403) {
    return new TakeError(
      "signed_out",
      "You are signed out. Sign in again; your earlier takes are safe.",
    );
  }
  return new TakeError(
    "refused",
    `The server did not take this (${status}). Your earlier takes are safe; reload the page and try again.`,
  );
}

/**
 * Events: "waiting" (the network is down), "sending" (it is back), "failed" (the server
 * takes no more), "told" (the words of a spoken consent: `detail.words`, `say_within_s`).
 */
export class LiveTake extends EventTarget {
  constructor(urls) {
    super();
    this.urls = urls;
    this.chunks = [];
    this.next = 0; // the chunk to be sent next
    this.isOver = false;
    this.failure = null;
  }

  /** Get a ticket for a prompt and announce what the microphone delivers. */
  async begin({ session, prompt, sampleRate, channels, device }) {
    this.channels = channels;
    const before = Date.now();
    const answer = await post(this.urls.tickets, { session, prompt }).catch(() => null);
    if (!answer || answer.status >= 500) {
      throw new TakeError(
        "offline",
        "The server cannot be reached, so this take was not started. Check your connection, then try again.",
      );
    }
    if (answer.status !== 201) throw refusal(answer);
    const { token, chunk_s, longest_s, lives_s } = answer.body;
    this.headers = { "X-Live-Ticket": token };
    this.chunkSeconds = chunk_s;
    this.longestSeconds = longest_s;
    // Counted from before the request and by our own clock: it ends here first.
    this.endsAt = before + 1000 * lives_s;
    await this.insist(this.urls.start, {
      encoding: "f32le",
      sample_rate_hz: sampleRate,
      channels,
      device,
    });
  }

  /** Take the next chunk (Float32Array, interleaved) and send it when it is its turn. */
  add(chunk) {
    this.chunks.push(littleEndian(chunk));
    this.pump();
  }

  /** Wait until all is sent, then have it measured; resolves to the take. */
  async finish({ samples, captured }) {
    for (;;) {
      while (this.next < this.chunks.length && !this.failure) await this.pump();
      if (this.failure) throw this.failure;
      const told = { chunks: this.chunks.length, samples, captured_s: captured };
      try {
        return await this.insist(this.urls.finish, told);
      } catch (error) {
        if (error.code !== "chunks_missing") throw error;
        this.next = error.expected;
      }
    }
  }

  /** Send no more; the ticket runs out by itself or is replaced. */
  abandon() {
    this.isOver = true;
    this.chunks = [];
  }

  /** Send what waits, one after another. Resolves when nothing waits or all is lost. */
  pump() {
    this.pumping ??= this.sendAll().finally(() => {
      this.pumping = null;
    });
    return this.pumping;
  }

  async sendAll() {
    while (this.next < this.chunks.length && !this.failure && !this.isOver) {
      const sequence = this.next;
      try {
        const answer = await this.insist(this.urls.chunks, this.chunks[sequence], {
          "X-Chunk-Sequence": String(sequence),
        });
        this.next = Math.max(sequence + 1, answer.received);
        if (answer.words) this.dispatchEvent(new CustomEvent("told", { detail: answer }));
      } catch (error) {
        if (error.code === "out_of_order" && error.expected < this.chunks.length) {
          this.next = error.expected;
        } else {
          this.failure = error;
          this.dispatchEvent(new CustomEvent("failed", { detail: error }));
        }
      }
    }
  }

  /** POST again and again while only the network or the server's health is at fault. */
  async insist(url, body, headers = {}) {
    let wait = FIRST_WAIT_MS;
    for (let tries = 1; ; tries++) {
      const answer = await post(url, body, { ...this.headers, ...headers }).catch(() => null);
      if (answer && answer.status < 500) {
        if (tries > 1) this.dispatchEvent(new CustomEvent("sending"));
        if (answer.status < 300) return answer.body;
        const error = refusal(answer);
        error.expected = answer.body.expected ?? answer.body.first_missing;
        throw error;
      }
      if (answer?.body.code === "disk_full" && tries > 3) throw refusal(answer);
      if (Date.now() + wait > this.endsAt) {
        if (answer) throw refusal(answer);
        throw new TakeError(
          "offline",
          "The connection was gone for too long, so this take was lost. Your earlier takes are safe; record this one again.",
        );
      }
      if (tries > 1) this.dispatchEvent(new CustomEvent("waiting"));
      await pause(wait);
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    }
  }
}

/** The bytes of a Float32Array in the order the protocol wants, whatever the machine. */
function littleEndian(chunk) {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] === 1) return chunk;
  const view = new DataView(new ArrayBuffer(4 * chunk.length));
  chunk.forEach((sample, i) => view.setFloat32(4 * i, sample, true));
  return view.buffer;
}
