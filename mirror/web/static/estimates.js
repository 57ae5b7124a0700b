// What something would ask JSOC for, shown before anybody begins it.

import { h } from "./site.js";

const PAUSE = 600;

/**
 * A function that shows in `place` what `ask(signal)` says, once it was not called again for a while; null says
 * nothing. An earlier answer that still comes is passed over, and so is an error: the form itself tells of those.
 */
export function estimated(place, ask) {
  let timer = 0;
  let asking = new AbortController();
  return () => {
    clearTimeout(timer);
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    timer = setTimeout(async () => {
      const answer = await Promise.resolve(ask(signal)).catch(() => null);
      if (signal.aborted) return;
      place.replaceChildren(...(answer ? [answer.text, ...answer.notes.flatMap((note) => [h("br"), note])] : []));
    }, PAUSE);
  };
}
