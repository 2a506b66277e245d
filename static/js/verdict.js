// A take is checked after its last chunk has arrived: this waits for what comes of it.

/** Verdicts take about two seconds; a person waits for one no longer than this. */
const PATIENCE_MS = 8000;
const EVERY_MS = 250;

/**
 * The take with its verdict, as the API tells it. `checking` still when it takes long:
 * the page shows it once it is there.
 */
export async function verdictOn(take, takesUrl) {
  const until = performance.now() + PATIENCE_MS;
  let latest = take;
  while (latest.verdict === "checking" && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    const answer = await fetch(`${takesUrl}${take.id}/`).catch(() => null);
    if (answer?.ok) latest = await answer.json();
    else if (answer && answer.status < 500) break;
  }
  return latest;
}
