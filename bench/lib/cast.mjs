/** The contestants that are running: each is started when it is first needed, and kept until its place is left. */
import { label } from './contestants.mjs';
import { directoryFor } from './stage.mjs';

/** @typedef {import('./contestants.mjs').Contestant} Contestant */
/** @typedef {import('./contestants.mjs').Leg} Leg */
/** @typedef {import('./contestants.mjs').Running} Running */
/** @typedef {{ contestant: Contestant, leg: Leg, label: string }} Entrant one line of the tables */
/** @typedef {{ keyType?: import('./stage.mjs').KeyType, resumes?: boolean, workers?: number,
 *   certificate?: import('./stage.mjs').Certificate, port?: number }} Wish how it shall run, where not as usual */

/** Every contestant with each of its legs that were asked for. @param {readonly Contestant[]} contestants @param {readonly Leg[]} legs @returns {Entrant[]} */
export function entrantsOf(contestants, legs) {
  const all = contestants.flatMap((contestant) =>
    contestant.legs.map((leg) => ({ contestant, leg, label: label(contestant, leg) })),
  );
  return all.filter(({ leg }) => legs.includes(leg));
}

/** Directories that were given out: each start has one of its own. */
let started = 0;

/** What runs at one place. */
export class Cast {
  /** @type {Map<string, Promise<Running>>} */
  #running = new Map();

  /** @param {import('./stage.mjs').Stage} stage @param {import('./pinning.mjs').Place} place */
  constructor(stage, place) {
    this.stage = stage;
    this.place = place;
  }

  /** The running contestant; started at most once for each wish. @param {Entrant} entrant @param {Wish} [wish] */
  get(entrant, wish = {}) {
    const key = JSON.stringify([entrant.label, wish]);
    const running = this.#running.get(key) ?? this.start(entrant, wish);
    this.#running.set(key, running);
    return running;
  }

  /** Starts one that the caller stops. @param {Entrant} entrant @param {Wish} [wish] */
  async start({ contestant, leg, label: name }, wish = {}) {
    const { directory, certificates, identity, port } = this.stage;
    const { keyType = 'ecdsa', ...rest } = wish;
    started += 1;
    return contestant.start({
      directory: directoryFor(directory, `${name}-${started}`, identity),
      place: this.place,
      leg,
      certificate: certificates[keyType],
      identity,
      port,
      ...rest,
    });
  }

  /** Ends all that it started by {@link Cast.get}. */
  async stop() {
    const running = await Promise.allSettled(this.#running.values());
    this.#running.clear();
    for (const one of running) {
      if (one.status === 'fulfilled') {
        await one.value.stop();
      }
    }
  }
}
