// @ts-check
/** What the session's jurisdiction policy lets this page do, and what it has to show. The server enforces it all;
 * what it does not tell is taken for forbidden.
 *
 * @param {any} play the policy as the gateway tells it, if it does
 * @param {string} jurisdiction of a demo session of this installation; "none" is the development policy
 */
export function policyOf(play, jurisdiction) {
  if (!play) {
    const free = jurisdiction === "none";
    return { autoplay: free, turbo: free, modes: free ? null : ["base"], duties: free ? new Set() : ALL_DUTIES, declares: false };
  }
  return {
    autoplay: play.autoplay_allowed === true,
    turbo: play.turbo_allowed === true,
    /** Null: all of the game. @type {string[] | null} */
    modes: play.modes_allowed?.length ? play.modes_allowed : null,
    /** @type {Set<string>} */
    duties: new Set(play.display_duties ?? []),
    /** Whether spins say that they are autoplay or turbo. */
    declares: true,
  };
}

const ALL_DUTIES = new Set(["NET_POSITION", "ELAPSED_TIME", "CLOCK", "RTP", "STAKES_AND_WINS"]);

/** @typedef {ReturnType<typeof policyOf>} Policy */
