// Whether a session may be recorded with an open microphone: the server's word, and why.

import { TakeError, post, refusal } from "./live-take.js";

/** Resolves to {accepted, reasons, warnings}, each reason {code, text}. Throws TakeError. */
export async function verifyDevice(url, session, microphone, report = {}) {
  const told = { session, device: await microphone.describe(), report };
  const answer = await post(url, told).catch(() => null);
  if (!answer || answer.status >= 500) {
    throw new TakeError(
      "offline",
      "The server cannot be reached, so your microphone could not be checked. Check your connection, then try again.",
    );
  }
  if (answer.status !== 200) throw refusal(answer);
  return answer.body;
}
